// What alter_server sets for one server, from the JSON object in which both databases keep it.
#pragma once
#include <cstdint>
#include <string>

#include "shared/sync/store.hpp"

namespace rowmesh {

// Names and ranges: docs/settings.md. Throws Error(config) with a sentence for what is unknown, of the wrong type or
// out of range.
ServerOptions parse_server_options(const std::string& json);

// A JSON array of names: the tables that are exchanged with it.
void set_server_tables(ServerConfig& server, const std::string& json);

// Whether documents may be shipped at this time (ms since 1970).
bool in_schedule(const ServerOptions& options, std::uint64_t now_ms);
// When that changes next; 0: never.
std::uint64_t next_schedule_change_ms(const ServerOptions& options, std::uint64_t now_ms);

}  // namespace rowmesh
