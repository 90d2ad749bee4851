// The event loop needs its handler before the node exists, which needs the loop: the node is put in later. Until then
// 503.
#pragma once
#include "shared/http/message.hpp"

namespace rowmesh {

class LateHandler : public HttpHandler {
 public:
  void set(HttpHandler* handler) { handler_ = handler; }  // null: nobody answers any more
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    return handler_ ? handler_->check(head, body_limit) : not_now();
  }
  HttpResponse handle(const HttpRequest& request) override { return handler_ ? handler_->handle(request) : not_now(); }
  HttpResponse later(const HttpRequest& request) override { return handler_ ? handler_->later(request) : not_now(); }

 private:
  static HttpResponse not_now() {
    HttpResponse response;
    response.status = 503;
    return response;
  }
  HttpHandler* handler_ = nullptr;
};

}  // namespace rowmesh
