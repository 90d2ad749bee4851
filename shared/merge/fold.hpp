// What a local change does to the lives of its key (model 1.2).
#pragma once
#include "shared/merge/row_state.hpp"

namespace rowmesh {

// The life whose row the table shows, if any row of the key is shown: integer keys the oldest living life, others the youngest
// (whose row shows the columns merged over all living lives). Null: none lives.
Life* shown_life(RowState& state, bool integer_key, Version truncated);
const Life* shown_life(const RowState& state, bool integer_key, Version truncated);
// Does the table hold a row of this key? (Hidden and held rows are not in it; a quarantined one may be there in an older form.)
bool in_table(const RowState& state, bool integer_key, Version truncated);

// `state` with no lives means: nothing unsettled was known of the key.
void fold_insert(RowState& state, Version version, bool integer_key, Version truncated);
void fold_update(RowState& state, Version version, const ColumnSet& columns, std::size_t column_count, bool whole_row,
                 bool integer_key, Version truncated);
void fold_remove(RowState& state, Version version, bool integer_key, Version truncated);

}  // namespace rowmesh
