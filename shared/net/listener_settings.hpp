// From the settings of a database to a listener: one reading for both engines.
#pragma once
#include <functional>
#include <string>

#include "shared/net/event_loop.hpp"

namespace rowmesh {

using ReadSetting = std::function<std::string(const std::string& name)>;  // '' stands for the default

// The certificates alone, for a loop that only asks. Throws Error(config).
void apply_tls_settings(EventLoop& loop, const ReadSetting& read);

// Limits, certificates and the address, as the settings say now. What cannot be used stays as it was.
// -> a sentence for each that cannot, joined; '' if all is well.
std::string apply_listener_settings(EventLoop& loop, const ReadSetting& read, bool has_secret);

// Something to say of what is used all the same: no TLS where others can listen, a certificate that ends soon. '' if
// nothing.
std::string listener_warning(const EventLoop& loop);

}  // namespace rowmesh
