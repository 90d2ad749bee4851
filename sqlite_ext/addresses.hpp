// Checks of what people type as URLs and addresses.
#pragma once
#include <string>

namespace rowmesh::sqlite {

// "http://host:port" without a trailing slash. Throws Error(config) with a sentence.
std::string checked_url(const std::string& url);
// Throws Error(config) unless `text` is '' or an address to listen on.
void check_listen_address(const std::string& text);
bool is_loopback_address(const std::string& text);

}  // namespace rowmesh::sqlite
