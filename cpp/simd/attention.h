// What attention does with a block of scores, as data. The products around it are register tiles.
#pragma once

#include <cstdint>

namespace tilegrad::simd {

// A block of `rows` x `columns` scores, row by row `row` elements apart. Row r sees its first
// `seen + r` columns (causal masks), or all where that is more. `added` (rows added_row apart) is
// added to the scores; it may be null.
template <class T>
struct ScoreBlock {
  int64_t rows, columns, seen;
  const T* added;
  int64_t added_row;
  T* scores;
  int64_t row;
};

template <class T>
struct AttentionKernels {
  // Scores become exp(score - top), 0 where not seen, with top[r] raised to the row's largest
  // score; sum[r] becomes sum[r] * shrink[r] plus the row's sum, where shrink[r] is
  // exp(top before - top).
  void (*weigh)(const ScoreBlock<T>& block, T* top, T* sum, T* shrink);
  // out[r] *= factor[r] for n elements of rows `row` apart.
  void (*scale)(int64_t rows, int64_t n, const T* factor, T* out, int64_t row);
  // Ends a row: out[r] /= sum[r], log_sum[r] = top[r] + log(sum[r]). A row that saw nothing keeps
  // its zeros and gets -inf.
  void (*finish)(int64_t rows, int64_t n, const T* top, const T* sum, T* out, int64_t row,
                 T* log_sum);
  // out[r] = sum(a[r] b[r]) over n elements.
  void (*dots)(int64_t rows, int64_t n, const T* a, int64_t a_row, const T* b, int64_t b_row,
               T* out);
  // With p = exp(score - log_sum): d becomes p (kept d - dot), scores become p kept. `kept` (laid
  // out like scores) may be null, for ones.
  void (*slopes)(const ScoreBlock<T>& block, const T* log_sum, const T* dot, const T* kept, T* d);
};

}  // namespace tilegrad::simd
