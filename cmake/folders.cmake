# Every folder of the house is one static library, which sees itself and those it stands on. ingot_folder(NAME FOLDER DEPENDENCIES...) takes every
# .c in FOLDER.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)

# Includes are written from the folder on ("ir/graph.h"). For each library one folder under the build holds nothing but a link to its sources;
# it travels with the library to whoever links it, and so a header is found by those who stand on its library, and by nobody else.
file(REMOVE_RECURSE ${PROJECT_BINARY_DIR}/include)
function(ingot_shows name folder)
  string(REGEX REPLACE "^src/" "" seen_as ${folder})
  set(link ${PROJECT_BINARY_DIR}/include/${name}/${seen_as})
  cmake_path(GET link PARENT_PATH parent)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${link} SYMBOLIC)
  target_include_directories(${name} ${ARGN} ${PROJECT_BINARY_DIR}/include/${name})
  set_property(GLOBAL APPEND PROPERTY ingot_libraries ${name})  # for tests/walls
endfunction()

function(ingot_folder name folder)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.c)
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC ${ARGN} PRIVATE ingot_flags)
  ingot_shows(${name} ${folder} PUBLIC)
endfunction()

# Device code travels inside the library as text: every .cuh under kernels/ becomes a row of one generated table.
file(GLOB_RECURSE device_sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/kernels/*.cuh)
list(TRANSFORM device_sources PREPEND ${PROJECT_SOURCE_DIR}/ OUTPUT_VARIABLE device_paths)
add_custom_command(
  OUTPUT ${PROJECT_BINARY_DIR}/generated/device_sources.c
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR} "-DSOURCES=${device_sources}" -DTABLE=device_sources -DOUT=${PROJECT_BINARY_DIR}/generated/device_sources.c
          -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${device_paths} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake VERBATIM)

# The protobuf schema of ONNX, written from the specification's field numbers, compiled at build.
find_program(PROTOC_C protoc-c REQUIRED)
set(proto ${PROJECT_BINARY_DIR}/generated/onnx)
file(MAKE_DIRECTORY ${proto})
add_custom_command(
  OUTPUT ${proto}/onnx.pb-c.c ${proto}/onnx.pb-c.h
  COMMAND ${PROTOC_C} --c_out=${proto} -I ${PROJECT_SOURCE_DIR}/onnx ${PROJECT_SOURCE_DIR}/onnx/onnx.proto
  DEPENDS ${PROJECT_SOURCE_DIR}/onnx/onnx.proto VERBATIM)
add_library(ingot_proto STATIC ${proto}/onnx.pb-c.c ${proto}/onnx.pb-c.h)
target_include_directories(ingot_proto PUBLIC ${proto})
target_link_libraries(ingot_proto PUBLIC PkgConfig::PROTOBUF_C)

ingot_folder(ingot_base src/base Threads::Threads m)
ingot_folder(ingot_ir src/ir ingot_base)
ingot_folder(ingot_cuda src/cuda ingot_base ${CMAKE_DL_LIBS})

# kernels/: one folder per family, one library for all, above the IR and the CUDA tables it calls through.
file(GLOB_RECURSE kernel_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.c)
# Loops built for several instruction sets, and optimised in every configuration: LOOPS_generic.c with FLAGS, and for each "LEVEL FLAGS..." LOOPS_LEVEL.c
# with those too; on other processors than x86-64 that file is empty. Sanitizers would be compiled in for minutes: there they are small, not fast.
function(ingot_levels loops flags)
  separate_arguments(flags)
  if(INGOT_SANITIZE)
    list(TRANSFORM flags REPLACE "^-O3$" "-DLOOPS_SMALL")
  endif()
  set_source_files_properties(${loops}_generic.c PROPERTIES COMPILE_OPTIONS "${flags}")
  foreach(level_flags IN LISTS ARGN)
    separate_arguments(level_flags)
    list(POP_FRONT level_flags level)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
      set_source_files_properties(${loops}_${level}.c PROPERTIES COMPILE_OPTIONS "${flags};${level_flags}")
    endif()
  endforeach()
endfunction()
ingot_levels(kernels/program/strip "-O3 -fwrapv -fno-trapping-math -ffp-contract=fast $<$<C_COMPILER_ID:Clang>:-Wno-pass-failed>"
  "avx2 -mavx2 -mfma -mf16c" "avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512")
ingot_levels(kernels/common/cpu_gemm "-O3 -fwrapv -ffp-contract=fast"
  "avx2 -mavx2 -mfma" "avx512 -mavx512f -mavx512bw -mfma" "vnni -mavx512f -mavx512bw -mavx512vnni -mfma")
ingot_levels(kernels/pool/cpu_pool "-O3 -fwrapv -fno-trapping-math"
  "avx2 -mavx2 -mfma" "avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512")
add_library(ingot_kernels STATIC ${kernel_sources} ${PROJECT_BINARY_DIR}/generated/device_sources.c)
target_link_libraries(ingot_kernels PUBLIC ingot_ir ingot_cuda PRIVATE ingot_flags)
ingot_shows(ingot_kernels kernels PUBLIC)

ingot_folder(ingot_passes src/passes ingot_kernels)
# What rules in shared objects (src/passes/plugin.h) call is visible in the program `ingot`; the libraries hide it (--exclude-libs).
set_target_properties(ingot_base ingot_ir ingot_passes PROPERTIES C_VISIBILITY_PRESET default)
foreach(folder base ir passes)
  target_compile_options(ingot_${folder} PRIVATE -fno-semantic-interposition)
endforeach()
ingot_folder(ingot_lower src/lower ingot_kernels)
ingot_folder(ingot_tune src/tune ingot_lower)
ingot_folder(ingot_engine src/engine ingot_lower)
ingot_folder(ingot_run src/run ingot_engine ingot_tune)

# The translations know nothing of protobuf and serve the run-time too; reading models stands on them.
ingot_folder(ingot_onnx_ops onnx/ops ingot_kernels)
ingot_folder(ingot_onnx onnx ingot_onnx_ops ingot_proto)

# The public libraries. libingot holds everything; libingot-runtime what running a finished engine takes. Only INGOT_API is visible.
file(GLOB api_run CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/api/*.c)
# What builds engines, and needs the importer.
set(api_build ${PROJECT_SOURCE_DIR}/src/api/build.c ${PROJECT_SOURCE_DIR}/src/api/targets.c)
list(REMOVE_ITEM api_run ${api_build})
set(run_folders ingot_run ingot_passes ingot_tune ingot_onnx_ops)
# They and the command line's library are made of the same objects.
add_library(ingot_api_run OBJECT ${api_run})
target_link_libraries(ingot_api_run PRIVATE ${run_folders} ingot_flags)
add_library(ingot_api_build OBJECT ${api_build})
target_link_libraries(ingot_api_build PRIVATE ${run_folders} ingot_onnx ingot_flags)
foreach(objects ingot_api_run ingot_api_build)
  ingot_shows(${objects} src/api PRIVATE)
  target_include_directories(${objects} PRIVATE ${PROJECT_SOURCE_DIR}/include)
endforeach()
set(api_run_objects $<TARGET_OBJECTS:ingot_api_run>)
set(api_objects ${api_run_objects} $<TARGET_OBJECTS:ingot_api_build>)
add_library(ingot SHARED ${api_objects})
target_link_libraries(ingot PRIVATE ${run_folders} ingot_onnx ingot_flags)
add_library(ingot_runtime SHARED ${api_run_objects})
target_link_libraries(ingot_runtime PRIVATE ${run_folders} ingot_flags)
set_target_properties(ingot_runtime PROPERTIES OUTPUT_NAME ingot-runtime)
set_target_properties(ingot ingot_runtime PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
foreach(library ingot ingot_runtime)
  target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  target_link_options(${library} PRIVATE -Wl,--exclude-libs,ALL)
  if(NOT INGOT_SANITIZE)  # a sanitized library takes its run-time from the program
    target_link_options(${library} PRIVATE -Wl,--no-undefined)
  endif()
endforeach()

# The command line stands on the folders themselves: it shows what the public interface hides.
add_library(ingot_api STATIC ${api_objects})
target_link_libraries(ingot_api PUBLIC ${run_folders} ingot_onnx PRIVATE ingot_flags)
target_include_directories(ingot_api PUBLIC ${PROJECT_SOURCE_DIR}/include)
ingot_shows(ingot_api src/api PUBLIC)
file(GLOB cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.c ${PROJECT_SOURCE_DIR}/src/cli/report/*.c)
# What a report's page looks like and how it is joined, as text.
set(report_folder ${PROJECT_SOURCE_DIR}/src/cli/report)
add_custom_command(
  OUTPUT ${PROJECT_BINARY_DIR}/generated/report_files.c
  COMMAND ${CMAKE_COMMAND} -DROOT=${report_folder} "-DSOURCES=page.css;page.js" -DTABLE=report_files -DOUT=${PROJECT_BINARY_DIR}/generated/report_files.c
          -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${report_folder}/page.css ${report_folder}/page.js ${PROJECT_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
list(APPEND cli_sources ${PROJECT_BINARY_DIR}/generated/report_files.c)
# Reading pictures, which tests share: stb takes compilers longer than all else in the folder.
set(picture_sources ${PROJECT_SOURCE_DIR}/src/cli/picture.c ${PROJECT_SOURCE_DIR}/src/cli/picture_check.c)
list(REMOVE_ITEM cli_sources ${picture_sources})
find_package(ZLIB REQUIRED)
find_path(STB_INCLUDE stb_image.h PATH_SUFFIXES stb REQUIRED)
add_library(ingot_picture OBJECT ${picture_sources})
target_include_directories(ingot_picture SYSTEM PRIVATE ${STB_INCLUDE})
target_link_libraries(ingot_picture PRIVATE ingot_ir ingot_flags)
ingot_shows(ingot_picture src/cli PRIVATE)
add_executable(ingot_cli ${cli_sources} $<TARGET_OBJECTS:ingot_picture>)
ingot_shows(ingot_cli src/cli PRIVATE)
target_link_libraries(ingot_cli PRIVATE ingot_api ZLIB::ZLIB ingot_flags)
set_target_properties(ingot_cli PROPERTIES OUTPUT_NAME ingot ENABLE_EXPORTS ON)

include(${CMAKE_CURRENT_SOURCE_DIR}/cmake/install.cmake)
if(INGOT_EXAMPLES AND NOT INGOT_SANITIZE)
  add_subdirectory(examples)
endif()
if(INGOT_TESTS)
  enable_testing()
  add_subdirectory(tests)
endif()
