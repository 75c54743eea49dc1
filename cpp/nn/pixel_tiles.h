// How the output pixels of a box are cut into tiles of neighbouring lanes.
//
// Flat: the lanes run along the rows of the window's copy, over the few columns between the end of
// one row and the start of the next; what is computed there is not stored. Dense: the pixels are
// gathered into a panel first, without gaps; worth its cost where rows are short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nn/conv_window.h"
#include "simd/conv.h"

namespace tilegrad::nn {

struct PixelTile {
  int64_t base;  // of lane 0 in the window's copy (flat)
  int vectors;
  size_t span, span_end;  // what is stored
  size_t run, run_end;    // what is gathered (dense)
};

struct PixelTiles {
  std::vector<PixelTile> tiles;
  std::vector<simd::StoreSpan> spans;
  std::vector<simd::PanelRun> runs;
};

struct TileWidth {
  int lanes, vectors;  // lanes of one vector, most vectors of a tile
};

// `to`: strides of image, z, y in the result, whose x stride is 1.
PixelTiles flat_tiles(const Box& box, const WindowLayout& layout, TileWidth width,
                      const int64_t (&to)[kSpatial]);
PixelTiles dense_tiles(const Box& box, const WindowLayout& layout, TileWidth width,
                       const int64_t (&to)[kSpatial]);

}  // namespace tilegrad::nn
