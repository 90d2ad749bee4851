// The settings rowmesh.*: ordinary GUCs, so that a configuration file, ALTER SYSTEM and ALTER DATABASE ... SET all
// work.
#pragma once
#include <map>
#include <string>

namespace rowmesh {

void define_settings();

// The values that hold for this database now, by name without the prefix, also when ALTER DATABASE changed them after
// this process started (a worker's own GUCs are only read at its start). In a transaction.
std::map<std::string, std::string> read_settings();

}  // namespace rowmesh
