// Capture: the triggers note changed rows in a buffer of the transaction, which is written to the log before it
// commits.
#pragma once
#include <cstddef>
#include <cstdint>

#include "shared/sync/store.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

// RAISES. In a transaction: notes a change as the trigger would. `key` as encode_key makes it, `mask` bits by attribute
// number - 1 (nullptr: all columns). Written at commit like the rest.
void note_change(TableId table, LogOp op, const char* key, std::size_t key_size, const unsigned char* mask,
                 std::uint16_t mask_size);

// RAISES. The configuration of this node was changed: its worker hears of it when this transaction commits.
void note_config_change();

void install_transaction_callbacks();

}  // namespace rowmesh
