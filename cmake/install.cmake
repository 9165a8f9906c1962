# What `cmake --install` puts where, and how other projects find it: pkg-config (ingot, ingot-runtime) and find_package(Ingot), which
# gives Ingot::ingot and Ingot::runtime. Projects that add this one as a folder get the same names.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(Ingot::ingot ALIAS ingot)
add_library(Ingot::runtime ALIAS ingot_runtime)
set_target_properties(ingot_runtime PROPERTIES EXPORT_NAME runtime)

install(TARGETS ingot ingot_runtime EXPORT IngotTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS ingot_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/include/ingot DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/Ingot)
install(EXPORT IngotTargets NAMESPACE Ingot:: DESTINATION ${cmake_folder})
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/IngotConfig.cmake "include(\"\${CMAKE_CURRENT_LIST_DIR}/IngotTargets.cmake\")\n")
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/IngotConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/IngotConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/IngotConfigVersion.cmake DESTINATION ${cmake_folder})

# The prefix is found from where the .pc file lies, so that an installed tree may be moved.
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
function(ingot_pkg_config name library description)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc
    "prefix=\${pcfiledir}/${pc_prefix}\nlibdir=\${prefix}/${CMAKE_INSTALL_LIBDIR}\nincludedir=\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}\n\n"
    "Name: ${name}\nDescription: ${description}\nVersion: ${PROJECT_VERSION}\nLibs: -L\${libdir} -l${library}\nCflags: -I\${includedir}\n")
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
ingot_pkg_config(ingot ingot "Builds engines from ONNX models and runs them on NVIDIA GPUs and CPUs")
ingot_pkg_config(ingot-runtime ingot-runtime "Runs engines that Ingot built")
