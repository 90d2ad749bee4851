// What a local change does to the lives of its key (model 1.2).
#pragma once
#include "shared/merge/row_state.hpp"

namespace rowmesh {

// The life whose row the table shows, if any row of the key is shown: integer keys the oldest living life, others the youngest
// (whose row shows the columns merged over all living lives). Null: none lives.
Life* shown_life(RowState& state, bool integer_key, Version truncated);
const Life* shown_life(const RowState& state, bool integer_key, Version truncated);
// Does the table hold a row of this key? (Hidden and held rows are not in it; a quarantined one may be there in an older form.)
// A younger life that is in the table although it must wait (Side::row_here); null: none.
const Life* held_in_table(const RowState& state, Version truncated);
bool in_table(const RowState& state, bool integer_key, Version truncated);
// The table shows the row as it should be: nothing of it waits any more, except for the own values of several lives under a natural key.
void now_in_table(RowState& state, bool integer_key, Version truncated);

// Lives that were applied after the change was made are none of its business: a transaction that inserts and deletes a key may be read
// after another server's insert of that key was taken in, without having seen it.
// `state` with no lives means: nothing unsettled was known of the key.
void fold_insert(RowState& state, Version version, bool integer_key, Version truncated);
void fold_update(RowState& state, Version version, const ColumnSet& columns, std::size_t column_count, bool whole_row,
                 bool integer_key, Version truncated);
void fold_remove(RowState& state, Version version, bool integer_key, Version truncated);

}  // namespace rowmesh
