# What is installed besides programs and libraries, and the packages (cpack -G DEB, or "./dev package"):
#
#   pinhole          programs, manual pages, completions, units, the user, a configuration in /etc/turnd
#   libpinhole-dev   headers, static libraries, pkg-config and CMake files
#
# Included last, when everything else is known.

# The paths in the units are those of the prefix that is installed to, which is known only then.
set(deploy ${PROJECT_SOURCE_DIR}/deploy)
foreach(unit turnd.service stund.service)
    install(CODE "
        file(READ \"${deploy}/systemd/${unit}\" text)
        string(REPLACE /usr/local/bin \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\" text \"\${text}\")
        file(WRITE \"${PROJECT_BINARY_DIR}/systemd/${unit}\" \"\${text}\")"
        COMPONENT programs)
    install(FILES ${PROJECT_BINARY_DIR}/systemd/${unit} DESTINATION lib/systemd/system
        COMPONENT programs)
endforeach()
install(FILES ${deploy}/systemd/sysusers.conf DESTINATION lib/sysusers.d RENAME pinhole.conf
    COMPONENT programs)
install(FILES ${deploy}/config/turnserver.conf DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/pinhole/examples
    COMPONENT programs)
# The rest is for packages alone: nobody's /etc is touched by "make install".
install(FILES ${deploy}/config/turnserver.conf DESTINATION /etc/turnd
    PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ
    COMPONENT etc EXCLUDE_FROM_ALL)

if(NOT PROJECT_IS_TOP_LEVEL)
    return()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME pinhole)
set(CPACK_PACKAGE_CONTACT "Pinhole authors <authors@pinhole.invalid>" CACHE STRING
    "Who maintains the packages: NAME <ADDRESS>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each has its own
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON) # for /etc
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/pack_tidy.cmake)
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)

set(CPACK_COMPONENTS_ALL programs etc development)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENT_PROGRAMS_GROUP main)
set(CPACK_COMPONENT_ETC_GROUP main)
set(CPACK_COMPONENT_DEVELOPMENT_GROUP dev)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_DEBIAN_MAIN_PACKAGE_NAME pinhole)
set(CPACK_DEBIAN_MAIN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_MAIN_DESCRIPTION "TURN and STUN server that takes coturn's configuration
turnd relays for WebRTC and SIP clients behind NATs (TURN, RFC 8656) over UDP,
TCP, TLS and DTLS, and tells them their addresses (STUN, RFC 8489). It reads
turnserver.conf and the options of coturn.
.
With it come turnctl, to look into a running server, drain, reload and upgrade
it; stund, a STUN server alone; and turnload, which loads and tests any TURN
server.")
# The user is made by systemd-sysusers, which the first of these brings where there is no systemd.
set(CPACK_DEBIAN_MAIN_PACKAGE_DEPENDS "systemd-standalone-sysusers | systemd-sysusers | systemd")
set(CPACK_DEBIAN_MAIN_PACKAGE_CONTROL_EXTRA
    ${deploy}/debian/postinst ${deploy}/debian/prerm ${deploy}/debian/postrm
    ${deploy}/debian/conffiles)
set(CPACK_DEBIAN_MAIN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libpinhole-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_SHLIBDEPS OFF)
set(dev_depends "libuv1-dev (>= 1.44)" "libssl-dev (>= 3.0)")
if(HIREDIS_FOUND)
    list(APPEND dev_depends "libhiredis-dev (>= 0.14)")
endif()
list(JOIN dev_depends ", " CPACK_DEBIAN_DEV_PACKAGE_DEPENDS)
set(CPACK_DEBIAN_DEV_DESCRIPTION "libraries for STUN and TURN (development files)
Headers and static libraries of Pinhole: the STUN and TURN message codec,
client and server cores that do no I/O of their own, and shells for libuv.")

include(CPack)
