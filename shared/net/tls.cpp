#include "shared/net/tls.hpp"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>

#include "shared/model/error.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t longest_file = 1 << 20;
constexpr int expires_soon_days = 14;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::config, "bad_tls_file", text); }

std::string read_file(const std::string& setting, const std::string& path, bool secret) {
  const std::string which = setting + " '" + path + "' ";
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) refuse(which + "cannot be opened: " + std::strerror(errno));
  struct stat about {};
  std::string text;
  bool regular =
      ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && static_cast<std::size_t>(about.st_size) <= longest_file;
  if (regular) {
    text.resize(static_cast<std::size_t>(about.st_size));
    ssize_t got = ::read(fd, text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  ::close(fd);
  if (!regular) refuse(which + "is not a file in PEM form");
  if (secret && (about.st_mode & S_IRWXO) != 0)
    refuse(which + "may be read by everybody on this machine; run: chmod 600 " + path);
  return text;
}

int no_passphrase(char*, int, int, void*) { return 0; }

Certificate first_certificate(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  Certificate certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr) : nullptr, X509_free);
  ERR_clear_error();
  return certificate;
}

Key private_key(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  Key key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr, EVP_PKEY_free);
  ERR_clear_error();
  return key;
}

}  // namespace

TlsMaterial read_tls_files(const std::string& cert_file, const std::string& key_file, const std::string& ca_file) {
  TlsMaterial material;
  if (cert_file.empty() != key_file.empty())
    refuse(cert_file.empty() ? "tls_key_file is set, but tls_cert_file is not: set both, or neither"
                             : "tls_cert_file is set, but tls_key_file is not: set both, or neither");
  if (!ca_file.empty()) {
    material.authorities = read_file("tls_ca_file", ca_file, false);
    if (!first_certificate(material.authorities))
      refuse("tls_ca_file '" + ca_file + "' has no certificate in PEM form");
  }
  if (cert_file.empty()) return material;
  material.certificate = read_file("tls_cert_file", cert_file, false);
  material.key = read_file("tls_key_file", key_file, true);
  Certificate certificate = first_certificate(material.certificate);
  if (!certificate) refuse("tls_cert_file '" + cert_file + "' has no certificate in PEM form");
  Key key = private_key(material.key);
  if (!key) refuse("tls_key_file '" + key_file + "' has no private key in PEM form without a passphrase");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    refuse("the key in tls_key_file '" + key_file + "' does not belong to the certificate in tls_cert_file '" +
           cert_file + "'");
  }
  return material;
}

std::string certificate_warning(const TlsMaterial& material) {
  Certificate certificate = first_certificate(material.certificate);
  if (!certificate) return "";
  int days = 0, seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate.get())) != 1) return "";
  if (days < 0 || seconds < 0)
    return "the certificate in tls_cert_file has expired: other servers refuse it; renew it and reload";
  if (days < expires_soon_days)
    return "the certificate in tls_cert_file expires in " + std::to_string(days) + " days; renew it and reload";
  return "";
}

}  // namespace rowmesh
