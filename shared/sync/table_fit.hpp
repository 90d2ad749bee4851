// Does a table of another server fit the one of the same name here?
#pragma once
#include <string>

#include "shared/codec/document.hpp"

namespace rowmesh {

// Why its rows cannot be taken here, as a sentence that says what to do; empty: they can. Single values that a column
// cannot hold are no matter of the table: they go to quarantine.
std::string table_misfit(const Table& here, const WireTable& there);

// Name, columns, types and key as one text, to tell whether a table has been altered.
std::string table_shape(const Table& table);

}  // namespace rowmesh
