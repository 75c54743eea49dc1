// Convolution's table of tiles, planes and copies.

template <class T, int MR, int NV>
constexpr void add_conv_tiles(ConvKernels<T>& kernels) {
  if constexpr (MR <= conv_rows<T>()) {
    kernels.tile[MR][NV] = conv_tile<T, MR, NV>;
    if constexpr (NV < conv_vectors<T>(MR)) {
      add_conv_tiles<T, MR, NV + 1>(kernels);
    } else {
      kernels.vectors[MR] = NV;
      add_conv_tiles<T, MR + 1, 1>(kernels);
    }
  }
}

template <class T, int MR, int NR>
constexpr void add_conv_dots(ConvKernels<T>& kernels) {
  kernels.dot[MR][NR] = conv_dot<T, MR, NR>;
  if constexpr (NR < kDotMaxColumns) {
    add_conv_dots<T, MR, NR + 1>(kernels);
  } else if constexpr (MR < kDotMaxRows) {
    add_conv_dots<T, MR + 1, 1>(kernels);
  }
}

template <class T>
constexpr ConvKernels<T> conv_kernels() {
  ConvKernels<T> kernels{};
  kernels.width = Vec<T>::width;
  kernels.rows = conv_rows<T>();
  add_conv_tiles<T, 1, 1>(kernels);
  add_conv_dots<T, 1, 1>(kernels);
  kernels.plane = conv_plane<T>;
  kernels.dot_square = conv_dot_square<T>;
  kernels.panel = conv_panel<T>;
  kernels.add = conv_add<T>;
  kernels.transpose = conv_transpose<T>;
  kernels.rows_to_window = conv_rows_to_window<T>;
  return kernels;
}
