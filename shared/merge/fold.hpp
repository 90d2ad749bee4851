// What a local change does to the lives of its key (model 1.2).
#pragma once
#include "shared/merge/row_state.hpp"

namespace rowmesh {

// The life that the table ought to show, if any row of the key is shown: integer keys the oldest living life, others
// the youngest (whose row shows the columns merged over all living lives). Null: none lives.
Life* shown_life(RowState& state, bool integer_key, Version truncated);
const Life* shown_life(const RowState& state, bool integer_key, Version truncated);

// The table is exactly what the state shows of the key, and nothing of it waits or has to be told apart.
bool plain(const RowState& state, Version truncated);

// A local change concerns the life whose row was in the table, whatever the table ought to show by now; with a natural
// key a delete buries all living lives. Lives that were applied after the change was made are none of its business: a
// transaction that inserts and deletes a key may be read after another server's insert of that key was taken in,
// without having seen it. `state` with no lives means: nothing unsettled was known of the key.
void fold_insert(RowState& state, Version version, bool integer_key, Version truncated);
void fold_update(RowState& state, Version version, const ColumnSet& columns, std::size_t column_count, bool whole_row);
void fold_remove(RowState& state, Version version, bool integer_key, Version truncated);

}  // namespace rowmesh
