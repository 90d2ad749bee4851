// What a fuzz target is: a function that takes any bytes and must neither crash nor hang nor let an exception out that
// is not an Error.
// `./dev fuzz NAME` builds it with libFuzzer; `./dev test` replays the kept inputs (corpus/NAME) through the same
// function.
#pragma once
#include <cstdint>
#include <string_view>

namespace rowmesh::fuzz {

void document(std::string_view input);  // a body, plain or zstd, through the reader
void request(std::string_view input);   // requests, signed and not, into a node
void json(std::string_view input);      // hello, progress, errors, options, settings, addresses
void values(std::string_view input);    // keys, packed states, base64, JSON values: what is written is read back
void sqlite(std::string_view input);    // sqlite_ext: names and index texts in capture, values into columns

// A violated promise: libFuzzer and the replay both see it.
[[noreturn]] void broken(const char* promise);
inline void promise(bool kept, const char* text) {
  if (!kept) broken(text);
}

// Takes the input apart, front first. Empty input gives zeros.
class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}
  std::uint8_t byte();
  std::uint64_t number(unsigned bytes);
  std::string_view part();  // up to the next 0xff, which is dropped
  std::string_view rest();
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace rowmesh::fuzz
