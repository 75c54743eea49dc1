// The forward direction and the input gradient, as correlations.
#include "nn/conv.h"

#include "nn/correlate.h"
#include "nn/kernels.h"

namespace tilegrad::nn {
namespace {

// w (O, C / groups, taps): the packed weights of forward are its transposed rows.
template <class T>
struct ForwardWeights {
  const T* w;
  int64_t rows, depth;  // output channels of a group, channels of a group x taps

  static void pack(const void* context, int64_t group, int64_t row, int64_t count, T* out) {
    const auto& self = *static_cast<const ForwardWeights*>(context);
    const T* from = self.w + (group * self.rows + row) * self.depth;
    conv_kernels<T>().transpose(count, self.depth, from, self.depth, out, count);
  }
};

// The input gradient swaps input and output channels and keeps some taps: w^T[c, (o, t)].
template <class T>
struct SwappedWeights {
  const T* w;
  int64_t channels, out_channels, taps;  // of a group
  std::vector<int64_t> kept;

  static void pack(const void* context, int64_t group, int64_t row, int64_t count, T* out) {
    const auto& self = *static_cast<const SwappedWeights*>(context);
    for (int64_t o = 0; o < self.out_channels; ++o) {
      const T* from = self.w + ((group * self.out_channels + o) * self.channels + row) * self.taps;
      for (const int64_t tap : self.kept) {
        for (int64_t i = 0; i < count; ++i) *out++ = from[i * self.taps + tap];
      }
    }
  }
};

template <class T>
void set_strides(Correlation<T>& c, int64_t channels, const int64_t (&size)[kSpatial]) {
  c.to_pixel[2] = 1;
  c.to_pixel[1] = size[2];
  c.to_pixel[0] = size[1] * size[2];
  c.to_channel = size[0] * c.to_pixel[0];
  c.to_batch = channels * c.to_channel;
}

// The taps of one axis that reach image pixels of residue r modulo the stride s. Pixel s q + r and
// tap t meet in output (s q + r + low - t d) / s, if that is whole: q + shift. The last tap comes
// first, so that shifts rise as they do in the forward direction.
struct Phase {
  Axis axis;
  std::vector<int64_t> kept;
};

Phase phase_of(const ConvShape& shape, int i, int64_t residue) {
  const int64_t s = shape.stride[i];
  Phase phase;
  phase.axis.input = shape.output[i];
  phase.axis.output = (shape.image[i] - residue + s - 1) / s;
  phase.axis.stride = 1;
  for (int64_t t = shape.kernel[i]; t-- > 0;) {
    const int64_t at = residue + shape.low[i] - t * shape.dilation[i];
    if (at % s != 0) continue;
    phase.axis.shift.push_back(at / s);
    phase.kept.push_back(t);
  }
  phase.axis.sort_by_residue();
  return phase;
}

}  // namespace

template <class T>
void conv_forward(const ConvShape& shape, const Images<T>& x, const T* w, const T* bias, bool relu,
                  T* y) {
  Correlation<T> c{};
  for (int i = 0; i < kSpatial; ++i) c.axes[i] = forward_axis(shape, i);
  c.batch = shape.batch;
  c.groups = shape.groups;
  c.channels = shape.channels / shape.groups;
  c.rows = shape.out_channels / shape.groups;
  c.from = x;
  c.bias = bias;
  c.relu = relu;
  c.to = y;
  set_strides(c, shape.out_channels, shape.output);
  const ForwardWeights<T> weights{w, c.rows, c.depth()};
  c.pack = ForwardWeights<T>::pack;
  c.context = &weights;
  correlate(c);
}

template <class T>
void conv_input_grad(const ConvShape& shape, const Images<T>& g, const T* w, T* dx) {
  // Image pixels of different residues modulo the stride are separate correlations with some of the
  // taps each; at stride 1 there is one, with the kernel rotated.
  const int64_t *s = shape.stride, *k = shape.kernel;
  for (int64_t rz = 0; rz < s[0] && rz < shape.image[0]; ++rz) {
    const Phase z = phase_of(shape, 0, rz);
    for (int64_t ry = 0; ry < s[1] && ry < shape.image[1]; ++ry) {
      const Phase y = phase_of(shape, 1, ry);
      for (int64_t rx = 0; rx < s[2] && rx < shape.image[2]; ++rx) {
        const Phase x = phase_of(shape, 2, rx);
        Correlation<T> c{};
        c.axes[0] = z.axis;
        c.axes[1] = y.axis;
        c.axes[2] = x.axis;
        c.batch = shape.batch;
        c.groups = shape.groups;
        c.channels = shape.out_channels / shape.groups;
        c.rows = shape.channels / shape.groups;
        c.from = g;
        set_strides(c, shape.channels, shape.image);
        c.to = dx + rz * c.to_pixel[0] + ry * c.to_pixel[1] + rx * c.to_pixel[2];
        for (int i = 0; i < kSpatial; ++i) c.to_pixel[i] *= s[i];
        SwappedWeights<T> weights{w, c.rows, c.channels, shape.taps(), {}};
        for (const int64_t tz : z.kept) {
          for (const int64_t ty : y.kept) {
            for (const int64_t tx : x.kept) {
              weights.kept.push_back((tz * k[1] + ty) * k[2] + tx);
            }
          }
        }
        c.pack = SwappedWeights<T>::pack;
        c.context = &weights;
        correlate(c);
      }
    }
  }
}

template void conv_forward<float>(const ConvShape&, const Images<float>&, const float*,
                                  const float*, bool, float*);
template void conv_forward<double>(const ConvShape&, const Images<double>&, const double*,
                                   const double*, bool, double*);
template void conv_input_grad<float>(const ConvShape&, const Images<float>&, const float*, float*);
template void conv_input_grad<double>(const ConvShape&, const Images<double>&, const double*,
                                      double*);

}  // namespace tilegrad::nn
