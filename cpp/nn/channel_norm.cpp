// Batch and group normalisation: one weight per channel of (images, channels, pixels).
#include "nn/norm.h"
#include "nn/norm_line.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace tilegrad::nn {
namespace {

constexpr double kGrain = 1e5;  // elements worth a thread: some 20 us

int threads_for(const ChannelShape& s) {
  return runtime::threads_for(static_cast<double>(s.images * s.channels * s.pixels), kGrain);
}

// Runs shorter than this cost more in calls than in elements: (images, channels, pixels) is turned
// into (channels, images * pixels) first.
constexpr int64_t kShortRun = 16;

bool short_runs(const ChannelShape& s) { return s.pixels < kShortRun; }

// An array by channel: itself, or a turned copy where its own runs are short.
template <class T>
class ByChannel {
 public:
  explicit ByChannel(const ChannelShape& s)
      : shape_(s), scratch_(short_runs(s) ? sizeof(T) * static_cast<size_t>(elements() + 1) : 1) {}

  // The array as channels to read; `channel(c)` of the result is one line.
  const T* read(const T* x) {
    if (!short_runs(shape_)) return x;
    each([&](int64_t original, int64_t turned) { scratch_.as<T>()[turned] = x[original]; });
    return scratch_.as<T>();
  }

  // Where to write channels that `finish` brings into y.
  T* write(T* y) const { return short_runs(shape_) ? scratch_.as<T>() : y; }
  void finish(T* y) {
    if (!short_runs(shape_)) return;
    each([&](int64_t original, int64_t turned) { y[original] = scratch_.as<T>()[turned]; });
  }

 private:
  int64_t elements() const { return shape_.images * shape_.channels * shape_.pixels; }

  template <class Move>
  void each(Move&& move) {
    for (int64_t n = 0, at = 0; n < shape_.images; ++n) {
      for (int64_t c = 0; c < shape_.channels; ++c) {
        const int64_t turned = (c * shape_.images + n) * shape_.pixels;
        for (int64_t p = 0; p < shape_.pixels; ++p) move(at++, turned + p);
      }
    }
  }

  const ChannelShape shape_;
  const runtime::Scratch scratch_;
};

// From one channel's first element to the next one's.
int64_t channel_pitch(const ChannelShape& s) {
  return short_runs(s) ? s.images * s.pixels : s.pixels;
}

Line channel_line(const ChannelShape& s) {
  if (short_runs(s)) return {1, s.images * s.pixels, s.images * s.pixels};
  return {s.images, s.pixels, s.channels * s.pixels};
}

}  // namespace

template <class T>
void batch_norm_train(const ChannelShape& s, const T* x, const T* weight, const T* bias, double eps,
                      T* y, T* mean, T* rstd, T* var) {
  const Line line = channel_line(s);
  const int64_t pitch = channel_pitch(s);
  ByChannel<T> in(s), out(s);
  const T* const from = in.read(x);
  T* const to = out.write(y);
  runtime::parallel_for(s.channels, threads_for(s), [&](int64_t c) {
    if (runtime::interrupted()) return;
    const Moments<T> m = moments(line, from + c * pitch);
    mean[c] = static_cast<T>(m.mean());
    var[c] = static_cast<T>(m.var);
    rstd[c] = static_cast<T>(1 / std::sqrt(m.var + eps));
    const T a = weight != nullptr ? rstd[c] * weight[c] : rstd[c];
    line.for_blocks([&](int64_t at, int64_t n) {
      norm_kernels<T>().affine(n, from + c * pitch + at, m.shift, m.rest, a,
                               bias != nullptr ? bias[c] : T(0), to + c * pitch + at);
    });
  });
  out.finish(y);
}

template <class T>
void batch_norm_apply(const ChannelShape& s, const T* x, const T* mean, const T* rstd,
                      const T* weight, const T* bias, T* y) {
  const Line line = channel_line(s);
  const int64_t pitch = channel_pitch(s);
  ByChannel<T> in(s), out(s);
  const T* const from = in.read(x);
  T* const to = out.write(y);
  runtime::parallel_for(s.channels, threads_for(s), [&](int64_t c) {
    if (runtime::interrupted()) return;
    const T a = weight != nullptr ? rstd[c] * weight[c] : rstd[c];
    line.for_blocks([&](int64_t at, int64_t n) {
      norm_kernels<T>().affine(n, from + c * pitch + at, mean[c], T(0), a,
                               bias != nullptr ? bias[c] : T(0), to + c * pitch + at);
    });
  });
  out.finish(y);
}

template <class T>
void batch_norm_grad(const ChannelShape& s, const T* g, const T* x, const T* mean, const T* rstd,
                     const T* weight, T* dx, T* dw, T* db) {
  const Line line = channel_line(s);
  const int64_t pitch = channel_pitch(s);
  ByChannel<T> up(s), in(s), out(s);
  const T *const up_from = up.read(g), *const from = in.read(x);
  T* const to = out.write(dx);
  runtime::parallel_for(s.channels, threads_for(s), [&](int64_t c) {
    if (runtime::interrupted()) return;
    const T *gc = up_from + c * pitch, *xc = from + c * pitch;
    double one = 0, along = 0, d = 0;
    line.for_blocks([&](int64_t at, int64_t n) {
      const auto sums = norm_kernels<T>().grad_sums(n, gc + at, xc + at, nullptr, mean[c]);
      one += static_cast<double>(sums.g);
      along += static_cast<double>(sums.gd);
      d += static_cast<double>(sums.d);
    });
    const auto count = static_cast<double>(line.size()), scale = static_cast<double>(rstd[c]);
    const double rest = d / count, slope = scale * (along - rest * one);
    dw[c] = static_cast<T>(slope);
    db[c] = static_cast<T>(one);
    const T a = weight != nullptr ? rstd[c] * weight[c] : rstd[c];
    line.for_blocks([&](int64_t at, int64_t n) {
      norm_kernels<T>().grad(n, gc + at, xc + at, nullptr, T(1), mean[c], static_cast<T>(rest),
                             rstd[c], a, static_cast<T>(one / count), static_cast<T>(slope / count),
                             to + c * pitch + at, nullptr, nullptr);
    });
  });
  out.finish(dx);
}

template <class T>
void group_norm(const ChannelShape& s, int64_t groups, const T* x, const T* weight, const T* bias,
                double eps, T* y, T* mean, T* rstd) {
  const int64_t members = s.channels / groups, size = members * s.pixels;
  runtime::parallel_for(s.images * groups, threads_for(s), [&](int64_t line) {
    if (runtime::interrupted()) return;
    const Moments<T> m = moments(Line{1, size, size}, x + line * size);
    mean[line] = static_cast<T>(m.mean());
    rstd[line] = static_cast<T>(1 / std::sqrt(m.var + eps));
    for (int64_t i = 0; i < members; ++i) {
      const int64_t c = line % groups * members + i, at = line * size + i * s.pixels;
      const T a = weight != nullptr ? rstd[line] * weight[c] : rstd[line];
      norm_kernels<T>().affine(s.pixels, x + at, m.shift, m.rest, a,
                               bias != nullptr ? bias[c] : T(0), y + at);
    }
  });
}

template <class T>
void group_norm_grad(const ChannelShape& s, int64_t groups, const T* g, const T* x, const T* mean,
                     const T* rstd, const T* weight, T* dx, T* dw, T* db) {
  const int64_t members = s.channels / groups, size = members * s.pixels;
  const auto count = static_cast<double>(size);
  // Per image and channel: the sums of g and of g * xhat, added over images in order below.
  const int64_t planes = s.images * s.channels;
  const runtime::Scratch scratch(sizeof(double) * static_cast<size_t>(3 * planes + 1));
  double* const ones = scratch.as<double>();
  double *const along = ones + planes, *const d = along + planes;
  runtime::parallel_for(s.images * groups, threads_for(s), [&](int64_t line) {
    if (runtime::interrupted()) return;
    const int64_t first = line * members;  // plane of the group's first channel
    const auto scale = static_cast<double>(rstd[line]);
    double rest = 0, one = 0, slope = 0;
    for (int64_t p = first; p < first + members; ++p) {
      ones[p] = along[p] = d[p] = 0;
      Line{1, s.pixels, s.pixels}.for_blocks([&](int64_t at, int64_t n) {
        const auto sums = norm_kernels<T>().grad_sums(n, g + p * s.pixels + at,
                                                      x + p * s.pixels + at, nullptr, mean[line]);
        ones[p] += static_cast<double>(sums.g);
        along[p] += static_cast<double>(sums.gd);
        d[p] += static_cast<double>(sums.d);
      });
      rest += d[p];
    }
    rest /= count;
    const auto weight_of = [&](int64_t p) {
      return weight != nullptr ? weight[p % s.channels] : T(1);
    };
    for (int64_t p = first; p < first + members; ++p) {
      along[p] = scale * (along[p] - rest * ones[p]);
      one += static_cast<double>(weight_of(p)) * ones[p];
      slope += static_cast<double>(weight_of(p)) * along[p];
    }
    for (int64_t p = first; p < first + members; ++p) {
      norm_kernels<T>().grad(s.pixels, g + p * s.pixels, x + p * s.pixels, nullptr, weight_of(p),
                             mean[line], static_cast<T>(rest), rstd[line], rstd[line],
                             static_cast<T>(one / count), static_cast<T>(slope / count),
                             dx + p * s.pixels, nullptr, nullptr);
    }
  });
  for (int64_t c = 0; c < s.channels; ++c) {
    double w = 0, b = 0;
    for (int64_t n = 0; n < s.images; ++n) {
      w += along[n * s.channels + c];
      b += ones[n * s.channels + c];
    }
    dw[c] = static_cast<T>(w);
    db[c] = static_cast<T>(b);
  }
}

#define TILEGRAD_NORM(T)                                                                           \
  template void batch_norm_train<T>(const ChannelShape&, const T*, const T*, const T*, double, T*, \
                                    T*, T*, T*);                                                   \
  template void batch_norm_apply<T>(const ChannelShape&, const T*, const T*, const T*, const T*,   \
                                    const T*, T*);                                                 \
  template void batch_norm_grad<T>(const ChannelShape&, const T*, const T*, const T*, const T*,    \
                                   const T*, T*, T*, T*);                                          \
  template void group_norm<T>(const ChannelShape&, int64_t, const T*, const T*, const T*, double,  \
                              T*, T*, T*);                                                         \
  template void group_norm_grad<T>(const ChannelShape&, int64_t, const T*, const T*, const T*,     \
                                   const T*, const T*, T*, T*, T*);
TILEGRAD_NORM(float)
TILEGRAD_NORM(double)
#undef TILEGRAD_NORM

}  // namespace tilegrad::nn
