// Correlations with one output channel for each group: no row tile to fill, and little work for
// each plane.
#pragma once

#include "nn/correlate_plan.h"

namespace tilegrad::nn {

// One output channel: rows of the planes of a box, from the box's window.
template <class T>
void run_planes(const CorrelationPlan<T>& plan, const Box& box, const T* x, const T* weights,
                T bias, T* y);

// A box's results, contiguous, to pixels that are not.
template <class T>
void spread_pixels(const Correlation<T>& c, const Box& box, int64_t rows, const T* result, T* to);

// All of it, where a window holds whole planes: what planes share is found once for all of them.
template <class T>
void correlate_planes(const CorrelationPlan<T>& plan);

}  // namespace tilegrad::nn
