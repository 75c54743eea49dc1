#include "nn/pixel_tiles.h"

#include <algorithm>

namespace tilegrad::nn {
namespace {

// Appends lanes [from, from + count) of a vector, stored from element `to` on.
void add_span(PixelTiles& out, size_t first, int64_t vector, int64_t from, int64_t count,
              int64_t to) {
  const int64_t at = to - from;
  if (out.spans.size() > first) {
    simd::StoreSpan& last = out.spans.back();
    if (last.vector == vector && last.to == from && last.at == at) {
      last.to += static_cast<int32_t>(count);
      return;
    }
  }
  out.spans.push_back({static_cast<int32_t>(vector), static_cast<int32_t>(from),
                       static_cast<int32_t>(from + count), at});
}

int vectors_for(int64_t lanes, TileWidth width) {
  return static_cast<int>(
      std::min<int64_t>(width.vectors, (lanes + width.lanes - 1) / width.lanes));
}

}  // namespace

PixelTiles flat_tiles(const Box& box, const WindowLayout& layout, TileWidth width,
                      const int64_t (&to)[kSpatial]) {
  PixelTiles out;
  const int64_t length = (box.size[1] - 1) * layout.row + box.size[2];
  for (int64_t n = 0; n < box.images; ++n) {
    for (int64_t z = 0; z < box.size[0]; ++z) {
      for (int64_t begin = 0; begin < length;) {
        const int vectors = vectors_for(length - begin, width);
        const size_t span = out.spans.size();
        const int64_t end = std::min(length, begin + vectors * width.lanes);
        for (int64_t at = begin; at < end;) {
          const int64_t y = at / layout.row, x = at % layout.row;
          const int64_t vector = (at - begin) / width.lanes;
          const int64_t stop = std::min(end, begin + (vector + 1) * width.lanes);
          const int64_t count = std::min(box.size[2] - x, stop - at);
          if (count > 0) {
            add_span(out, span, vector, at - begin - vector * width.lanes, count,
                     n * to[0] + z * to[1] + y * to[2] + x);
          }
          at = count > 0 ? at + count : (y + 1) * layout.row;
        }
        out.tiles.push_back(
            {n * layout.image + z * layout.slice + begin, vectors, span, out.spans.size(), 0, 0});
        begin += vectors * width.lanes;
      }
    }
  }
  return out;
}

PixelTiles dense_tiles(const Box& box, const WindowLayout& layout, TileWidth width,
                       const int64_t (&to)[kSpatial]) {
  PixelTiles out;
  const int64_t pixels = box.images * box.size[0] * box.size[1] * box.size[2];
  int64_t n = 0, z = 0, y = 0, x = 0;
  for (int64_t begin = 0; begin < pixels;) {
    const int vectors = vectors_for(pixels - begin, width);
    const int64_t lanes = std::min<int64_t>(pixels - begin, vectors * width.lanes);
    PixelTile tile{0, vectors, out.spans.size(), 0, out.runs.size(), 0};
    for (int64_t lane = 0; lane < lanes;) {
      const int64_t count = std::min(box.size[2] - x, lanes - lane);
      out.runs.push_back({n * layout.image + z * layout.slice + y * layout.row + x,
                          static_cast<int32_t>(lane), static_cast<int32_t>(count)});
      for (int64_t i = 0; i < count;) {  // a run may cross vectors
        const int64_t vector = (lane + i) / width.lanes, from = (lane + i) % width.lanes;
        const int64_t part = std::min(count - i, width.lanes - from);
        add_span(out, tile.span, vector, from, part, n * to[0] + z * to[1] + y * to[2] + x + i);
        i += part;
      }
      lane += count;
      x += count;
      if (x == box.size[2]) {
        x = 0;
        if (++y == box.size[1]) {
          y = 0;
          if (++z == box.size[0]) {
            z = 0;
            ++n;
          }
        }
      }
    }
    tile.span_end = out.spans.size();
    tile.run_end = out.runs.size();
    out.tiles.push_back(tile);
    begin += lanes;
  }
  return out;
}

}  // namespace tilegrad::nn
