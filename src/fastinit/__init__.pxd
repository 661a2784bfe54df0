from fastinit._kernel cimport (
    FI_BFLOAT16, FI_ERR_BOUNDS, FI_ERR_DTYPE, FI_ERR_EMPTY, FI_ERR_INDEX, FI_ERR_ISA, FI_ERR_MEAN,
    FI_ERR_NULL, FI_ERR_OVERFLOW, FI_ERR_STDDEV, FI_ERR_UNPREPARED, FI_FLOAT16, FI_FLOAT32,
    FI_FLOAT64, FI_OK, FI_STREAM_VERSION, fi_available_isa, fi_distribution, fi_dtype, fi_fill,
    fi_fill_region, fi_isa, fi_normal, fi_random_words, fi_region, fi_set_isa, fi_status,
    fi_status_message, fi_stream_key, fi_truncated_normal, fi_uniform)
