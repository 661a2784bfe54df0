/* Written by coefficients.py (Remez exchange, 60 digits): edit that, not this. */
#ifndef FASTINIT_COEFFICIENTS_H
#define FASTINIT_COEFFICIENTS_H

/* (atanh(s) / s - 1) / s^2 in powers of s^2, |s| <= (sqrt(2) - 1) / (sqrt(2) + 1);
 * maximum relative error of the polynomial 2^-21.68 */
#define F32_LOG0 0x1.55555c0000000p-2f
#define F32_LOG1 0x1.997aa00000000p-3f
#define F32_LOG2 0x1.2f2ba80000000p-3f

/* cos(pi/4 x) in powers of x*x, |x| <= 1;
 * maximum relative error of the polynomial 2^-24.60 */
#define F32_COS0 0x1.0000000000000p+0f
#define F32_COS1 -0x1.3bd39c0000000p-2f
#define F32_COS2 0x1.03b0580000000p-6f
#define F32_COS3 -0x1.4e78be0000000p-12f

/* sin(pi/4 x) / x in powers of x*x, |x| <= 1;
 * maximum relative error of the polynomial 2^-25.09 */
#define F32_SIN0 0x1.921fb60000000p-1f
#define F32_SIN1 -0x1.4abc240000000p-4f
#define F32_SIN2 0x1.4680a40000000p-9f
#define F32_SIN3 -0x1.33198e0000000p-15f

/* -ln(2) / 2 */
#define F32_MINUS_HALF_LN2 -0x1.62e4300000000p-2f

/* sqrt(2) */
#define F32_R 0x1.6a09e60000000p+0f

/* the number below R, times 2^-31 */
#define F32_RADIUS_SCALE 0x1.6a09e40000000p-31f

/* (atanh(s) / s - 1) / s^2 in powers of s^2, |s| <= (sqrt(2) - 1) / (sqrt(2) + 1);
 * maximum relative error of the polynomial 2^-50.96 */
#define F64_LOG0 0x1.5555555555558p-2
#define F64_LOG1 0x1.9999999995323p-3
#define F64_LOG2 0x1.2492492deec51p-3
#define F64_LOG3 0x1.c71c62e681b78p-4
#define F64_LOG4 0x1.7462b4ac6aa42p-4
#define F64_LOG5 0x1.39fe5b3254a89p-4
#define F64_LOG6 0x1.2b58ad3e1a058p-4

/* cos(pi/4 x) in powers of x*x, |x| <= 1;
 * maximum relative error of the polynomial 2^-53.86 */
#define F64_COS0 0x1.0000000000000p+0
#define F64_COS1 -0x1.3bd3cc9be459dp-2
#define F64_COS2 0x1.03c1f081b0df1p-6
#define F64_COS3 -0x1.55d3c7dc398d6p-12
#define F64_COS4 0x1.e1f4fb7f90416p-19
#define F64_COS5 -0x1.a6c9c7ffcf2b0p-26
#define F64_COS6 0x1.f3dc17e3f0089p-34

/* sin(pi/4 x) / x in powers of x*x, |x| <= 1;
 * maximum relative error of the polynomial 2^-54.51 */
#define F64_SIN0 0x1.921fb54442d18p-1
#define F64_SIN1 -0x1.4abbce625bdaep-4
#define F64_SIN2 0x1.466bc6774afcep-9
#define F64_SIN3 -0x1.32d2ccd46a41ap-15
#define F64_SIN4 0x1.507821d4dfca5p-22
#define F64_SIN5 -0x1.e2f3f0f0ef819p-30
#define F64_SIN6 0x1.dfc5b7d4f91a7p-38

/* -ln(2) / 2 */
#define F64_MINUS_HALF_LN2 -0x1.62e42fefa39efp-2

/* sqrt(2) */
#define F64_R 0x1.6a09e667f3bcdp+0

/* the number below R, times 2^-52 */
#define F64_RADIUS_SCALE 0x1.6a09e667f3bccp-52

#endif
