// The two crossings between C++ exceptions and PostgreSQL's longjmp errors.
//
// The jump of ereport(ERROR) skips destructors of every frame between the error and the PG_TRY that catches it. So:
// - guard(): C++ calls PostgreSQL. Inside the callable nothing with a destructor may be alive when an error can happen.
// An
//   error becomes a rowmesh::Error. Catching is not recovering: the (sub)transaction must be aborted next.
// - door(): PostgreSQL calls C++. An exception becomes ereport(ERROR), raised after the catch block has ended (raising
//   inside of it leaks the exception).
#pragma once
#include <string>
#include <type_traits>

#include "shared/model/error.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

void guard_call(void (*function)(void*), void* argument);

template <class F>
void guard(F&& function) {
  using Callable = std::remove_reference_t<F>;
  guard_call([](void* argument) { (*static_cast<Callable*>(argument))(); },
             const_cast<void*>(static_cast<const void*>(&function)));
}

// What kind of trouble a SQLSTATE is: contention, a cancelled statement or a lack of resources passes, everything else
// stays.
ErrorKind kind_of_sqlstate(const std::string& sqlstate);

// Plain data, so that it may be alive across the jump.
struct CaughtError {
  bool caught;
  int sqlstate;
  char text[1024];
};
void note_exception(CaughtError& caught) noexcept;  // in a catch block
[[noreturn]] void raise_caught(const CaughtError& caught);

template <class F>
auto door(F&& function) -> decltype(function()) {
  CaughtError caught;
  try {
    return function();
  } catch (...) {
    note_exception(caught);
  }
  raise_caught(caught);
}

}  // namespace rowmesh
