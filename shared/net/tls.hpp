// The certificate, key and CA that a node uses both ways: as the listener, and as the client of other servers.
#pragma once
#include <string>

namespace rowmesh {

// PEM texts, not file names: what was checked is what is used. All empty: no TLS of our own.
struct TlsMaterial {
  std::string certificate;  // with its chain
  std::string key;
  std::string authorities;  // who may have signed the certificates of the others; empty: the system's list, and no
                            // client needs one

  bool operator==(const TlsMaterial&) const = default;
  bool serves() const { return !certificate.empty(); }
};

// Reads and checks them. Empty names: none. Throws Error(config) with a sentence that names the file.
TlsMaterial read_tls_files(const std::string& cert_file, const std::string& key_file, const std::string& ca_file);

// What a person should know of a certificate that can be used all the same: it has expired, or will soon. '' if
// nothing.
std::string certificate_warning(const TlsMaterial& material);

}  // namespace rowmesh
