// A discrete Fourier transform of one line by a block: the signal and the roots of unity lie in shared memory, and each thread sums the
// definition for its outputs. Angles are exact multiples of 2 pi / n, reduced as integers before they meet a rounding.
#pragma once
#include "kernels/program/element.cuh"

template <class A> struct Complex { A real, imaginary; };

DEVICE void sine_cosine(float turns, float *sine, float *cosine) { sincospif(2 * turns, sine, cosine); }
DEVICE void sine_cosine(double turns, double *sine, double *cosine) { sincospi(2 * turns, sine, cosine); }

// exp(-+ 2 pi i j / n), 0 <= j < n
template <class A, bool INVERSE> DEVICE Complex<A> root_of_unity(int j, int n) {
  Complex<A> root;
  sine_cosine((A)j / (A)n, &root.imaginary, &root.real);
  if (!INVERSE) root.imaginary = -root.imaginary;
  return root;
}

// load(t) gives element t of the signal, store(k, value) takes output k of `outputs`.
template <class A, int N, bool INVERSE, int THREADS, class Load, class Store>
DEVICE void dft_shared(int outputs, A factor, Load load, Store store) {
  __shared__ Complex<A> signal[N], roots[N];
  for (int t = threadIdx.x; t < N; t += THREADS) {
    signal[t] = load(t);
    roots[t] = root_of_unity<A, INVERSE>(t, N);
  }
  __syncthreads();
  for (int k = threadIdx.x; k < outputs; k += THREADS) {
    A real = 0, imaginary = 0;
    for (int t = 0, j = 0; t < N; t++) {
      const Complex<A> s = signal[t], r = roots[j];
      real += s.real * r.real - s.imaginary * r.imaginary;
      imaginary += s.real * r.imaginary + s.imaginary * r.real;
      j += k;
      if (j >= N) j -= N;
    }
    store(k, Complex<A>{real * factor, imaginary * factor});
  }
}

// Lines too long for shared memory: the signal is read again for every output.
template <class A, int N, bool INVERSE, int THREADS, class Load, class Store>
DEVICE void dft_direct(int outputs, A factor, Load load, Store store) {
  for (int k = threadIdx.x; k < outputs; k += THREADS) {
    A real = 0, imaginary = 0;
    for (int t = 0, j = 0; t < N; t++) {
      const Complex<A> s = load(t), r = root_of_unity<A, INVERSE>(j, N);
      real += s.real * r.real - s.imaginary * r.imaginary;
      imaginary += s.real * r.imaginary + s.imaginary * r.real;
      j += k;
      if (j >= N) j -= N;
    }
    store(k, Complex<A>{real * factor, imaginary * factor});
  }
}
