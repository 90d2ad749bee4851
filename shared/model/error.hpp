// The one exception type of rowmesh. The kind decides what happens next, the code says which error it is, the text says
// what a person should do.
#pragma once
#include <stdexcept>
#include <string>

namespace rowmesh {

enum class ErrorKind {
  transient,  // try again: contention, a peer that is away, a full disk. Never a reason to drop or quarantine anything
  permanent,  // this row or request will not succeed as things stand: goes to quarantine
  protocol,   // the other side said something that the protocol does not allow
  corrupt,    // stored data does not decode
  config,     // a person must change a setting
  bug,        // must not happen
};

class Error : public std::runtime_error {
 public:
  // `code`: a SQLSTATE where the database gave one, else a short snake_case name.
  Error(ErrorKind kind, std::string code, const std::string& text)
      : std::runtime_error(text), kind_(kind), code_(std::move(code)) {}

  ErrorKind kind() const { return kind_; }
  const std::string& code() const { return code_; }

 private:
  ErrorKind kind_;
  std::string code_;
};

const char* to_string(ErrorKind kind);

}  // namespace rowmesh
