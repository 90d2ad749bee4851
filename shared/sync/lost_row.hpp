// What lost in a conflict, as it is kept beside the listed conflict so that restore() can write it back.
#pragma once
#include <string>
#include <vector>

#include "shared/merge/merge.hpp"
#include "shared/sync/store.hpp"

namespace rowmesh {

struct LostRow {
  TableId table = 0;
  Key key;
  Version birth;                  // of its life: under a number there may be another row by now
  ColumnSet columns;              // that lost
  OwnedRow values;                // all that were known, the others omitted
  std::vector<ColumnType> types;  // of the values; empty: the table's own
};

std::string pack_lost(TableId table, KeyView key, const Loss& loss);
LostRow unpack_lost(std::string_view bytes);  // throws Error(corrupt)

// Why nothing was written, as a sentence. Thrown by Applier::restore; then nothing has changed.
struct NotRestored {
  std::string why;
};

// Of a conflict that has nothing to write back: why, as a sentence.
const char* nothing_to_restore(std::string_view resolution);

}  // namespace rowmesh
