# Boxes and what is made of them.
#
# A box is one folder of sources and one static library that links only what it declares. Boxes are
# for the build itself: programs and tests link them. Users get the installed libraries
# (ph_library), each of which holds the objects of one or more boxes.
#
# What is installed has two components, and a package each (pack.cmake): programs and development.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(PH_CMAKE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(PH_INCLUDEDIR ${CMAKE_INSTALL_INCLUDEDIR}/pinhole)
set(PH_PACKAGEDIR ${CMAKE_INSTALL_LIBDIR}/cmake/Pinhole)

define_property(GLOBAL PROPERTY PH_BOXES BRIEF_DOCS "Every box that has sources")
define_property(GLOBAL PROPERTY PH_PURE_BOXES BRIEF_DOCS "Those that do no I/O")

# ph_existing(OUT NAME...): those of NAME that are to be linked. A box whose folder is still empty
# is left out; anything else that is not there is a mistake.
function(ph_existing out)
    set(found)
    foreach(name IN LISTS ARGN)
        if(TARGET ${name})
            list(APPEND found ${name})
        elseif(NOT name MATCHES "^(ph_|pinhole-)")
            message(FATAL_ERROR "${name}: no such library")
        endif()
    endforeach()
    set(${out} ${found} PARENT_SCOPE)
endfunction()

# ph_box(NAME DIR [PURE] [ONLY REGEX] [DEPS NAME...])
#
# The box NAME of all .c files of DIR (relative to the calling CMakeLists.txt), or of those alone whose
# path ONLY matches: the part that a missing library leaves. PURE boxes are plain
# ISO C and are held by tests/arch to do no I/O; the others see the whole of glibc. The target
# closed_NAME links every object of the box with the declared dependencies alone, so that an
# undeclared one fails the build even while no program uses it.
function(ph_box name dir)
    cmake_parse_arguments(PARSE_ARGV 2 box "PURE" "ONLY" "DEPS")
    cmake_path(ABSOLUTE_PATH dir NORMALIZE)
    file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.c)
    list(FILTER sources EXCLUDE REGEX "/test_[^/]*$") # tests/sim has tests of its own
    if(box_ONLY)
        list(FILTER sources INCLUDE REGEX ${box_ONLY})
    endif()
    if(NOT sources)
        return()
    endif()

    add_library(${name} STATIC ${sources})
    set_target_properties(${name} PROPERTIES
        ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/box
        PH_DIR ${dir})
    target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
    target_compile_options(${name} PRIVATE -Wmissing-prototypes)
    ph_existing(deps ${box_DEPS})
    target_link_libraries(${name} PUBLIC ${deps})

    set_property(GLOBAL APPEND PROPERTY PH_BOXES ${name})
    if(box_PURE)
        set_property(GLOBAL APPEND PROPERTY PH_PURE_BOXES ${name})
    else()
        target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
    endif()

    set(main ${PROJECT_BINARY_DIR}/box/closed.c)
    if(NOT EXISTS ${main})
        file(WRITE ${main} "int main(void)\n{\n    return 0;\n}\n")
    endif()
    add_executable(closed_${name} ${main})
    set_target_properties(closed_${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/box)
    target_link_libraries(closed_${name} PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,${name}>)
endfunction()

# ph_program(NAME [LIBS library...] [DEFS definition...] SOURCES source...)
#
# A program in bin/, linked with whatever boxes there are and LIBS. All of it but main.c is a library,
# NAME_parts, that tests may link too; man.c is a generator of its manual page and completion.
function(ph_program name)
    cmake_parse_arguments(PARSE_ARGV 1 prog "" "" "LIBS;DEFS;SOURCES")
    get_property(boxes GLOBAL PROPERTY PH_BOXES)
    set(main ${prog_SOURCES})
    list(FILTER main INCLUDE REGEX "/main\\.c$")
    set(man ${prog_SOURCES})
    list(FILTER man INCLUDE REGEX "/man\\.c$")
    set(parts ${prog_SOURCES})
    list(FILTER parts EXCLUDE REGEX "/(main|man)\\.c$")
    set(libs ${boxes} ${prog_LIBS} OpenSSL::SSL PkgConfig::LIBUV)
    if(parts)
        add_library(${name}_parts STATIC ${parts})
        set_target_properties(${name}_parts PROPERTIES
            ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/box)
        target_include_directories(${name}_parts PUBLIC ${PROJECT_SOURCE_DIR})
        target_compile_definitions(${name}_parts
            PUBLIC ${prog_DEFS}
            PRIVATE _GNU_SOURCE PH_VERSION="${PROJECT_VERSION}")
        target_link_libraries(${name}_parts PUBLIC ${libs})
        set_property(GLOBAL APPEND PROPERTY PH_PROGRAM_PARTS ${name}_parts)
        list(PREPEND libs ${name}_parts)
    endif()
    if(NOT main)
        return()
    endif()
    add_executable(${name} ${main})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_definitions(${name} PRIVATE _GNU_SOURCE PH_VERSION="${PROJECT_VERSION}")
    target_link_libraries(${name} PRIVATE ${libs})
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
    if(man)
        ph_manual(${name} ${man} ${libs})
    endif()
endfunction()

# ph_manual(NAME SOURCE LIBRARY...): builds and runs the generator, see cmd/common/manual.h. What it makes
# lies in share/ of the build as it will when installed, so that MANPATH=build/share/man shows it.
function(ph_manual name source)
    file(STRINGS ${source} section REGEX "\\.section = [0-9]")
    if(NOT section MATCHES "\\.section = ([0-9])")
        message(FATAL_ERROR "${source}: no .section")
    endif()
    set(section ${CMAKE_MATCH_1})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
        message(STATUS "Cross-compiling: the manual page of ${name} is left out")
        return()
    endif()
    add_executable(${name}_man ${source})
    set_target_properties(${name}_man PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/box)
    target_include_directories(${name}_man PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_definitions(${name}_man PRIVATE _GNU_SOURCE)
    target_link_libraries(${name}_man PRIVATE ${ARGN})

    set(share ${PROJECT_BINARY_DIR}/share)
    set(page ${share}/man/man${section}/${name}.${section})
    set(completion ${share}/bash-completion/completions/${name})
    file(MAKE_DIRECTORY ${share}/man/man${section} ${share}/bash-completion/completions)
    add_custom_command(OUTPUT ${page} ${completion}
        COMMAND ${name}_man man ${page}
        COMMAND ${name}_man completion ${completion}
        DEPENDS ${name}_man
        COMMENT "Manual page and completion of ${name}"
        VERBATIM)
    add_custom_target(${name}_manual ALL DEPENDS ${page} ${completion})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT programs)
    install(FILES ${completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        COMPONENT programs)
endfunction()

# ph_embed(OUT DIR HEADER NAME): the C file OUT with the contents of the files in DIR, as the table NAME that
# HEADER declares. Made anew when one of them changes, comes or goes.
function(ph_embed out dir header name)
    file(GLOB files CONFIGURE_DEPENDS ${dir}/*.html ${dir}/*.js ${dir}/*.css ${dir}/*.svg)
    add_custom_command(OUTPUT ${out}
        COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DHEADER=${header} -DNAME=${name} "-DFILES=${files}"
            -P ${PH_CMAKE_DIR}/embed.cmake
        DEPENDS ${files} ${PH_CMAKE_DIR}/embed.cmake
        COMMENT "Embedding ${dir}"
        VERBATIM)
endfunction()

# ph_library(NAME DESCRIPTION text BOXES box... [DEPS library...] [PC_REQUIRES module...])
#
# The installed library libNAME with the headers of its boxes, its pkg-config file and its target
# Pinhole::<NAME without pinhole->. DEPS are link targets, PC_REQUIRES the same in pkg-config's
# terms.
function(ph_library name)
    cmake_parse_arguments(PARSE_ARGV 1 lib "" "DESCRIPTION" "BOXES;DEPS;PC_REQUIRES")
    ph_existing(boxes ${lib_BOXES})
    ph_existing(deps ${lib_DEPS})
    if(NOT boxes)
        return()
    endif()

    add_library(${name})
    string(REGEX REPLACE "^pinhole-" "" export_name ${name})
    add_library(Pinhole::${export_name} ALIAS ${name})
    # 0.x promises no ABI, so every minor version has a soname of its own. The libraries find each
    # other beside them, wherever the installed tree is put.
    set_target_properties(${name} PROPERTIES
        EXPORT_NAME ${export_name}
        LINKER_LANGUAGE C
        INSTALL_RPATH $ORIGIN
        VERSION ${PROJECT_VERSION}
        SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
    target_include_directories(${name} INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${PH_INCLUDEDIR}>)
    target_link_libraries(${name} PUBLIC ${deps})
    if(BUILD_SHARED_LIBS)
        target_link_options(${name} PRIVATE
            LINKER:--version-script=${PH_CMAKE_DIR}/exports.map)
        if(NOT PINHOLE_SANITIZE) # the sanitizer runtimes are resolved only in the program
            target_link_options(${name} PRIVATE LINKER:--no-undefined)
        endif()
        set_target_properties(${name} PROPERTIES
            LINK_DEPENDS ${PH_CMAKE_DIR}/exports.map)
    endif()

    foreach(box IN LISTS boxes)
        target_sources(${name} PRIVATE $<TARGET_OBJECTS:${box}>)
        get_target_property(dir ${box} PH_DIR)
        cmake_path(RELATIVE_PATH dir BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE subdir)
        file(GLOB headers CONFIGURE_DEPENDS ${dir}/*.h)
        list(FILTER headers EXCLUDE REGEX "[/_]priv\\.h$")
        install(FILES ${headers} DESTINATION ${PH_INCLUDEDIR}/${subdir} COMPONENT development)
    endforeach()

    install(TARGETS ${name} EXPORT PinholeTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
    ph_pkgconfig(${name} "${lib_DESCRIPTION}" "${lib_PC_REQUIRES}")
endfunction()

# The .pc file. A static library has no record of what it needs, so there the needs of the code are
# plain Requires; a shared one keeps those that its headers don't show private.
function(ph_pkgconfig name description requires)
    set(public ${requires})
    set(private ${requires})
    if(BUILD_SHARED_LIBS)
        list(FILTER public INCLUDE REGEX "^(pinhole-|libuv)")
        list(FILTER private EXCLUDE REGEX "^(pinhole-|libuv)")
    else()
        set(private)
    endif()
    list(JOIN public ", " pc_requires)
    list(JOIN private ", " pc_requires_private)
    set(pc_name ${name})
    set(pc_description ${description})
    # Relative to the file itself, so that an installed tree can be moved.
    file(RELATIVE_PATH pc_prefix
        /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
    string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
    configure_file(${PH_CMAKE_DIR}/pinhole.pc.in ${PROJECT_BINARY_DIR}/pkgconfig/${name}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/pkgconfig/${name}.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
endfunction()

# The CMake package: find_package(Pinhole) gives Pinhole::stun, Pinhole::turn and so on.
function(ph_install_package)
    get_property(boxes GLOBAL PROPERTY PH_BOXES)
    if(NOT boxes)
        return()
    endif()
    configure_package_config_file(${PH_CMAKE_DIR}/PinholeConfig.cmake.in
        ${PROJECT_BINARY_DIR}/PinholeConfig.cmake INSTALL_DESTINATION ${PH_PACKAGEDIR})
    # Before 1.0 a minor version may break what an older one promised.
    write_basic_package_version_file(${PROJECT_BINARY_DIR}/PinholeConfigVersion.cmake
        COMPATIBILITY SameMinorVersion)
    install(FILES ${PROJECT_BINARY_DIR}/PinholeConfig.cmake
        ${PROJECT_BINARY_DIR}/PinholeConfigVersion.cmake
        DESTINATION ${PH_PACKAGEDIR} COMPONENT development)
    install(EXPORT PinholeTargets NAMESPACE Pinhole::
        DESTINATION ${PH_PACKAGEDIR} COMPONENT development)
endfunction()
