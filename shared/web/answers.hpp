// Small things that every handler needs: parts of a request, and answers.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "shared/http/message.hpp"

namespace rowmesh {

HttpResponse json_answer(int status, const nlohmann::json& body);
// {"error": code, "text": a sentence}
HttpResponse error_answer(int status, const std::string& code, const std::string& text);
HttpResponse text_answer(int status, const std::string& content_type, std::string body);

std::string header_of(const HttpRequest& request, const char* name);  // '' if it is not there
std::string cookie_of(const HttpRequest& request, const std::string& name);
std::string query_value(const HttpRequest& request, std::string_view name);  // unescaped
std::string percent_decoded(std::string_view text, bool plus_is_space = false);
// The JSON object in the body; {} if there is none. Throws Error(config, "bad_request") for anything else.
nlohmann::json json_body(const HttpRequest& request);

bool is_loopback_text(const std::string& address);  // "127.0.0.1", "::1"
// The request names this machine by a number or 'localhost': a page elsewhere whose name was pointed at us does not.
bool host_is_numeric(const HttpRequest& request);

}  // namespace rowmesh
