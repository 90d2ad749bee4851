#include "shared/web/page.hpp"

#include "shared/codec/base64.hpp"
#include "shared/http/auth.hpp"
#include "shared/model/hex.hpp"

namespace rowmesh {
namespace {

std::string source_of(const std::string& text) {
  std::string digest = bytes_from_hex(sha256_hex(text));
  std::string base64(base64_size(digest.size()), '\0');
  encode_base64(base64.data(), digest);
  return "'sha256-" + base64 + "'";
}

std::string put_in(std::string page, const std::string& mark, const std::string& text) {
  return page.replace(page.find(mark), mark.size(), text);
}

}  // namespace

const DashboardPage& dashboard_page() {
  static const DashboardPage& page = *[] {
    auto* made = new DashboardPage;
    made->html = put_in(put_in(dashboard_html, "/*STYLE*/", dashboard_style), "/*SCRIPT*/", dashboard_script);
    made->policy = "default-src 'none'; script-src " + source_of(dashboard_script) + "; style-src " +
                   source_of(dashboard_style) +
                   "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    return made;
  }();
  return page;
}

}  // namespace rowmesh
