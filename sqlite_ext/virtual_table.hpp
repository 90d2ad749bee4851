// Read-only tables whose rows are made when they are asked for. Eponymous: they exist without CREATE VIRTUAL TABLE, in
// every database that the connection has open, and leave nothing in the file.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

class Cell {
 public:
  Cell() = default;
  Cell(std::int64_t number) : number_(number) {}
  Cell(std::string text) : text_(std::move(text)) {}
  Cell(const char* text) : text_(text) {}
  void give(sqlite3_context* context) const;

 private:
  std::optional<std::int64_t> number_;
  std::optional<std::string> text_;
};
using CellRow = std::vector<Cell>;

struct VirtualTable {
  const char* name;
  const char* columns;  // as in CREATE TABLE
  // The number of the hidden column that must be given, as in FROM rowmesh_test_server('office'); -1: none.
  int argument;
  bool direct_only;  // touches the network
  // `argument`: '' if there is none. May throw.
  std::vector<CellRow> (*rows)(sqlite3* db, const std::string& argument);
};

// `table` must live for ever.
void define_table(sqlite3* db, const VirtualTable& table);

}  // namespace rowmesh::sqlite
