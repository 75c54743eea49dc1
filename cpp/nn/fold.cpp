#include "nn/fold.h"

#include <algorithm>
#include <vector>

#include "nn/kernels.h"
#include "runtime/threads.h"

namespace tilegrad::nn {
namespace {

constexpr double kGrain = 1e5;  // elements worth a thread: some 20 us

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// The outputs of one axis that meet a pixel of the image in a given tap, and the first one's pixel.
struct Meeting {
  int64_t begin, end, pixel;
  int64_t count() const { return end - begin; }
};

std::vector<Meeting> meetings(const ConvShape& s, int i) {
  std::vector<Meeting> result;
  for (int64_t t = 0; t < s.kernel[i]; ++t) {
    const int64_t first = t * s.dilation[i] - s.low[i], step = s.stride[i];
    const int64_t begin = std::clamp<int64_t>(ceil_div(-first, step), 0, s.output[i]);
    const int64_t end = std::clamp(ceil_div(s.image[i] - first, step), begin, s.output[i]);
    result.push_back({begin, end, first + begin * step});
  }
  return result;
}

// How the columns of a plane meet its image.
struct Columns {
  const ConvShape& s;
  const std::vector<Meeting> z = meetings(s, 0), y = meetings(s, 1), x = meetings(s, 2);

  explicit Columns(const ConvShape& shape) : s(shape) {}

  int64_t plane_elements() const { return s.taps() * s.output_pixels(); }

  // row(first element, z, y, x) for every row of a plane's columns that meets the image: output
  // slices and rows are those of the meetings, in order of taps, slices and rows.
  template <class Row>
  void visit(Row&& row) const {
    int64_t tap = 0;
    for (const Meeting& mz : z) {
      for (const Meeting& my : y) {
        for (const Meeting& mx : x) {
          const int64_t column = tap++ * s.output_pixels();
          if (mx.count() == 0) continue;
          for (int64_t u = mz.begin; u < mz.end; ++u) {
            for (int64_t v = my.begin; v < my.end; ++v) {
              row(column + (u * s.output[1] + v) * s.output[2] + mx.begin,
                  mz.pixel + (u - mz.begin) * s.stride[0], my.pixel + (v - my.begin) * s.stride[1],
                  mx);
            }
          }
        }
      }
    }
  }

  // Whether every output meets the image in every tap: then there is no padding to fill in.
  bool all_meet() const {
    const std::vector<Meeting>* axes[kSpatial] = {&z, &y, &x};
    for (int i = 0; i < kSpatial; ++i) {
      for (const Meeting& m : *axes[i]) {
        if (m.count() != s.output[i]) return false;
      }
    }
    return true;
  }

  template <class Body>
  void for_planes(Body&& body) const {
    const double work = static_cast<double>(s.batch * s.channels * plane_elements());
    runtime::parallel_for(s.batch * s.channels, runtime::threads_for(work, kGrain),
                          [&](int64_t plane) {
                            if (!runtime::interrupted()) body(plane);
                          });
  }
};

}  // namespace

template <class T>
void unfold(const ConvShape& s, const Images<T>& x, T* columns) {
  const Columns plan(s);
  const bool padded = !plan.all_meet();
  const int64_t step = s.stride[2] * x.pixel[2];
  plan.for_planes([&](int64_t plane) {
    const T* const image = x.data + plane / s.channels * x.batch + plane % s.channels * x.channel;
    T* const to = columns + plane * plan.plane_elements();
    if (padded) set_zero(to, plan.plane_elements());
    plan.visit([&](int64_t at, int64_t pz, int64_t py, const Meeting& mx) {
      const T* from = image + pz * x.pixel[0] + py * x.pixel[1] + mx.pixel * x.pixel[2];
      if (step == 1) {
        std::memcpy(to + at, from, sizeof(T) * static_cast<size_t>(mx.count()));
      } else {
        for (int64_t i = 0; i < mx.count(); ++i) to[at + i] = from[i * step];
      }
    });
  });
}

template <class T>
void fold(const ConvShape& s, const T* columns, T* image) {
  const Columns plan(s);
  const int64_t step = s.stride[2];
  plan.for_planes([&](int64_t plane) {
    const T* const from = columns + plane * plan.plane_elements();
    T* const pixels = image + plane * s.image_pixels();
    set_zero(pixels, s.image_pixels());
    plan.visit([&](int64_t at, int64_t pz, int64_t py, const Meeting& mx) {
      T* to = pixels + (pz * s.image[1] + py) * s.image[2] + mx.pixel;
      if (step == 1) {
        conv_kernels<T>().add(mx.count(), from + at, to);
      } else {
        for (int64_t i = 0; i < mx.count(); ++i) to[i * step] += from[at + i];
      }
    });
  });
}

template void unfold<float>(const ConvShape&, const Images<float>&, float*);
template void unfold<double>(const ConvShape&, const Images<double>&, double*);
template void fold<float>(const ConvShape&, const float*, float*);
template void fold<double>(const ConvShape&, const double*, double*);

}  // namespace tilegrad::nn
