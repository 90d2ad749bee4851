// The changed rows of the running transaction, until they are written to the log.
//
// A segment for each subtransaction, so that ROLLBACK TO forgets exactly what it undoes. Lies in TopTransactionContext.
#pragma once
#include "pg_ext/log_record.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

// RAISE.
void buffer_integer_key(TableId table, LogOp op, std::int64_t key, const unsigned char* mask, std::uint16_t mask_size);
void buffer_key(TableId table, LogOp op, const char* key, std::size_t key_size, const unsigned char* mask,
                std::uint16_t mask_size);

// Of the segments; called by the transaction callbacks in capture.cpp.
void buffer_subtransaction_committed(SubTransactionId child, SubTransactionId parent);
void buffer_subtransaction_aborted(SubTransactionId child);
// RAISES. Writes what there is, with one version. True if this transaction captured anything.
bool write_buffer();
void forget_buffer();

}  // namespace rowmesh
