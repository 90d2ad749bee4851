// The dashboard: one file, embedded at build time from shared/web/dashboard/.
#pragma once
#include <string>

namespace rowmesh {

extern const char* const dashboard_html;  // with the marks /*STYLE*/ and /*SCRIPT*/
extern const char* const dashboard_style;
extern const char* const dashboard_script;

// The whole page, and the Content-Security-Policy that lets exactly its own script and style run.
struct DashboardPage {
  std::string html, policy;
};
const DashboardPage& dashboard_page();

}  // namespace rowmesh
