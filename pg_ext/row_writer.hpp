// Writing what others sent: look up and lock, then insert, update, delete at the executor's level.
#pragma once
#include <functional>

#include "pg_ext/row_reader.hpp"

namespace rowmesh {

// Says whether a row version's writer was given by the last read of the log (or is rowmesh itself).
using SeenWriter = std::function<bool(TransactionId)>;

void find_rows(TableAccess* access, const ReadContext& context, const SeenWriter& seen, std::span<const KeyView> keys,
               std::vector<FoundRow>& found);

// `note_writer` is called with each (sub)transaction id under which rows were written.
void write_rows(TableAccess* access, const ReadContext& context, const std::vector<ColumnType>& types,
                std::span<const RowWrite> writes, std::vector<WriteResult>& results,
                const std::function<void(TransactionId)>& note_writer);

}  // namespace rowmesh
