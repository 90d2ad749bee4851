// The settings rowmesh.*: ordinary GUCs, so that a configuration file, ALTER SYSTEM and ALTER DATABASE ... SET all
// work.
#pragma once
#include <string>

namespace rowmesh {

void define_settings();

// The value that holds for this database now, also when ALTER DATABASE changed it after this process started (a
// worker's own GUCs are only read at its start). In a transaction. '' when not set. `name` without the prefix.
std::string read_setting(const std::string& name);

}  // namespace rowmesh
