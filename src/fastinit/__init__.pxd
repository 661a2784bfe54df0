from fastinit._kernel cimport (
    FASTINIT_BFLOAT16, FASTINIT_ERR_BOUNDS, FASTINIT_ERR_BUILD, FASTINIT_ERR_DTYPE,
    FASTINIT_ERR_EMPTY, FASTINIT_ERR_INDEX, FASTINIT_ERR_ISA, FASTINIT_ERR_MEAN,
    FASTINIT_ERR_NULL, FASTINIT_ERR_OVERFLOW, FASTINIT_ERR_STDDEV, FASTINIT_ERR_UNPREPARED,
    FASTINIT_FLOAT16, FASTINIT_FLOAT32, FASTINIT_FLOAT64, FASTINIT_FLOAT8_E4M3FN,
    FASTINIT_FLOAT8_E5M2, FASTINIT_OK, FASTINIT_STREAM_VERSION, fastinit_available_isa,
    fastinit_distribution, fastinit_dtype, fastinit_fill, fastinit_fill_region, fastinit_isa,
    fastinit_normal, fastinit_random_words, fastinit_region, fastinit_set_isa, fastinit_status,
    fastinit_status_message, fastinit_stream_key, fastinit_truncated_normal, fastinit_uniform)
