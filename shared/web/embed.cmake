# cmake -DFOLDER=... -DOUTPUT=... -P embed.cmake: the dashboard's sources as C++ string literals.
set(text "// Made from shared/web/dashboard/ at build time.\n#include \"shared/web/page.hpp\"\n\nnamespace rowmesh {\n")
foreach(pair "index.html;html" "style.css;style" "app.js;script")
  list(GET pair 0 file)
  list(GET pair 1 name)
  file(READ ${FOLDER}/${file} content)
  string(APPEND text "const char* const dashboard_${name} = R\"rowmesh_page(${content})rowmesh_page\";\n")
endforeach()
file(WRITE ${OUTPUT} "${text}}  // namespace rowmesh\n")
