/* Times products and factorizations of OpenBLAS and prints one JSON object per
 * measurement, as the Go program in measure does. Arguments: products | few | factor,
 * then the number of threads. */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern void openblas_set_num_threads(int threads);
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info);

static int threads;

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *must(size_t bytes) {
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (!p) {
		fprintf(stderr, "openblas: no memory for %zu bytes\n", bytes);
		exit(1);
	}
	return p;
}

static float *uniform(size_t n) {
	float *p = must(n * sizeof *p);
	for (size_t i = 0; i < n; i++)
		p[i] = rand() / (float)RAND_MAX - 0.5f;
	return p;
}

static void head(const char *what, double flops) {
	printf("{\"case\": \"%s\", \"threads\": %d, \"runner\": \"OpenBLAS\", \"flops\": %.0f, \"seconds\": [", what, threads, flops);
}

static void products(void) {
	for (int n = 512; n <= 2048; n *= 2) {
		float *a = uniform((size_t)n * n), *b = uniform((size_t)n * n), *c = uniform((size_t)n * n);
		char what[64];
		snprintf(what, sizeof what, "product %d³", n);
		head(what, 2.0 * n * n * n);
		int runs = n == 512 ? 61 : n == 1024 ? 25 : 11;
		for (int r = -2; r < runs; r++) {
			double start = now();
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, c, n);
			if (r >= 0)
				printf("%s%.9f", r ? ", " : "", now() - start);
		}
		puts("]}");
		free(a), free(b), free(c);
	}
}

static void few(void) {
	const int n = 2048;
	float *x = uniform(8 * n), *w = uniform((size_t)n * n), *y = uniform(8 * n);
	for (int m = 1; m <= 8; m++) {
		char what[64];
		snprintf(what, sizeof what, "%d × 2048²", m);
		head(what, 2.0 * m * n * n);
		for (int r = -3; r < 51; r++) {
			double start = now();
			if (m == 1)
				cblas_sgemv(CblasRowMajor, CblasNoTrans, n, n, 1, w, n, x, 1, 0, y, 1);
			else
				cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, n, 1, x, n, w, n, 0, y, n);
			if (r >= 0)
				printf("%s%.9f", r ? ", " : "", now() - start);
		}
		puts("]}");
	}
	free(x), free(w), free(y);
}

static void factor(void) {
	for (int n = 2048; n <= 4096; n *= 2) {
		size_t size = (size_t)n * n;
		double *a = must(size * sizeof *a), *l = must(size * sizeof *l);
		for (size_t i = 0; i < size; i++)
			a[i] = 1.0 / (1 + labs((long)(i / n) - (long)(i % n)));
		for (int i = 0; i < n; i++)
			a[(size_t)i * n + i] += n;
		char what[64];
		snprintf(what, sizeof what, "Cholesky + inverse of the factor, n = %d", n);
		head(what, 2.0 / 3 * n * (double)n * n);
		for (int r = -1; r < (n == 2048 ? 7 : 5); r++) {
			int info = 0;
			memcpy(l, a, size * sizeof *a);
			double start = now();
			dpotrf_("U", &n, l, &n, &info); /* row-major lower is column-major upper */
			if (!info)
				dtrtri_("U", "N", &n, l, &n, &info);
			if (info) {
				fprintf(stderr, "openblas: LAPACK answered %d\n", info);
				exit(1);
			}
			if (r >= 0)
				printf("%s%.9f", r ? ", " : "", now() - start);
		}
		puts("]}");
		free(a), free(l);
	}
}

int main(int argc, char **argv) {
	if (argc != 3 || (threads = atoi(argv[2])) < 1) {
		fprintf(stderr, "usage: openblas products|few|factor THREADS\n");
		return 2;
	}
	openblas_set_num_threads(threads);
	if (!strcmp(argv[1], "products"))
		products();
	else if (!strcmp(argv[1], "few"))
		few();
	else if (!strcmp(argv[1], "factor"))
		factor();
	else
		return 2;
	return 0;
}
