#include "gemm/gemm.h"

#include <algorithm>

#include "runtime/threads.h"
#include "runtime/workspace.h"
#include "simd/table.h"

namespace tilegrad::gemm {
namespace {

template <class T>
const simd::GemmKernels<T>& kernels();
template <>
const simd::GemmKernels<float>& kernels() {
  return simd::table().gemm_f32;
}
template <>
const simd::GemmKernels<double>& kernels() {
  return simd::table().gemm_f64;
}

int64_t rounded(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

// Panels of `width` along x (the m or n direction), each k-major, padded with zeros.
template <class T>
void pack(const T* data, int64_t xs, int64_t ks, int64_t x, int64_t k, int width, T scale, T* out) {
  for (int64_t begin = 0; begin < x; begin += width) {
    const int64_t count = std::min<int64_t>(width, x - begin);
    for (int64_t p = 0; p < k; ++p) {
      const T* at = data + begin * xs + p * ks;
      for (int64_t i = 0; i < count; ++i) out[i] = scale * at[i * xs];
      for (int64_t i = count; i < width; ++i) out[i] = T(0);
      out += width;
    }
  }
}

}  // namespace

template <class T>
void gemm(const Product<T>& g) {
  const auto& kernel = kernels<T>();
  if (g.beta != T(1)) {
    for (int64_t i = 0; i < g.m; ++i) {
      for (int64_t j = 0; j < g.n; ++j) {
        T& c = g.c.data[i * g.c.rs + j * g.c.cs];
        c = g.beta == T(0) ? T(0) : c * g.beta;
      }
    }
  }
  if (g.alpha == T(0) || g.k == 0 || g.m == 0 || g.n == 0) return;
  constexpr int64_t kKc = 256, kMc = 240;
  const int64_t kc = std::min(kKc, g.k), mc = std::min(kMc, g.m);
  runtime::Scratch b_scratch(sizeof(T) * static_cast<size_t>(kc * rounded(g.n, kernel.nr)));
  T* b_packed = b_scratch.as<T>();
  for (int64_t pc = 0; pc < g.k; pc += kc) {
    const int64_t k = std::min(kc, g.k - pc);
    pack(g.b.data + pc * g.b.rs, g.b.cs, g.b.rs, g.n, k, kernel.nr, T(1), b_packed);
    const int64_t blocks = (g.m + mc - 1) / mc;
    runtime::parallel_for(blocks, runtime::thread_limit(), [&](int64_t block) {
      if (runtime::interrupted()) return;
      const int64_t ic = block * mc, m = std::min(mc, g.m - ic);
      runtime::Scratch a_scratch(sizeof(T) * static_cast<size_t>(kc * rounded(m, kernel.mr)));
      runtime::Scratch tile_scratch(sizeof(T) * static_cast<size_t>(kernel.mr * kernel.nr));
      T* a_packed = a_scratch.as<T>();
      T* tile = tile_scratch.as<T>();
      pack(g.a.data + ic * g.a.rs + pc * g.a.cs, g.a.rs, g.a.cs, m, k, kernel.mr, g.alpha,
           a_packed);
      for (int64_t jr = 0; jr < g.n; jr += kernel.nr) {
        for (int64_t ir = 0; ir < m; ir += kernel.mr) {
          const int rows = static_cast<int>(std::min<int64_t>(kernel.mr, m - ir));
          const int columns = static_cast<int>(std::min<int64_t>(kernel.nr, g.n - jr));
          kernel.micro(k, a_packed + ir * k, b_packed + jr * k, tile, kernel.nr, rows, columns,
                       false);
          for (int i = 0; i < rows; ++i) {
            for (int j = 0; j < columns; ++j) {
              g.c.data[(ic + ir + i) * g.c.rs + (jr + j) * g.c.cs] += tile[i * kernel.nr + j];
            }
          }
        }
      }
    });
  }
}

template void gemm<float>(const Product<float>&);
template void gemm<double>(const Product<double>&);

}  // namespace tilegrad::gemm
