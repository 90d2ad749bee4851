// No signal is delivered to this thread while one of these lives. libcurl's resolver threads inherit the mask, so the
// handlers of the program that hosts us never run in them; a SIGPIPE raised meanwhile (OpenSSL writes with plain
// write()) is swallowed.
#pragma once
#include <pthread.h>

#include <csignal>
#include <ctime>

namespace rowmesh {

class SignalBlock {
 public:
  SignalBlock() noexcept {
    sigset_t all, pending;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    ::sigpending(&pending);
    pipe_was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
  }
  ~SignalBlock() {
    sigset_t pending;
    ::sigpending(&pending);
    if (!pipe_was_pending_ && ::sigismember(&pending, SIGPIPE) == 1) {
      sigset_t pipe;
      ::sigemptyset(&pipe);
      ::sigaddset(&pipe, SIGPIPE);
      timespec at_once{};
      ::sigtimedwait(&pipe, nullptr, &at_once);
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
  bool pipe_was_pending_;
};

}  // namespace rowmesh
