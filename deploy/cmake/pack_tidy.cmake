# Makes of the installed trees what Debian's packages look like: compressed manual pages, a copyright and a changelog.
# Run by CPack between installing and packing (CPACK_PRE_BUILD_SCRIPTS).
foreach(package pinhole:main libpinhole-dev:dev)
    string(REGEX REPLACE ":.*" "" name ${package})
    string(REGEX REPLACE ".*:" "" group ${package})
    set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${group})
    if(NOT EXISTS ${root})
        continue()
    endif()
    set(doc ${root}/usr/share/doc/${name})
    get_filename_component(source ${CPACK_RESOURCE_FILE_LICENSE} DIRECTORY)
    file(MAKE_DIRECTORY ${doc})
    file(READ ${CPACK_RESOURCE_FILE_LICENSE} license)
    string(STRIP "${license}" license)
    string(REGEX REPLACE "\n\n" "\n.\n" license "${license}")
    string(REGEX REPLACE "\n" "\n " license "${license}")
    file(WRITE ${doc}/copyright "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Pinhole

Files: *
Copyright: 2026 Pinhole authors
License: Expat
 ${license}
")
    file(COPY ${source}/CHANGELOG.md DESTINATION ${doc}
        FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
    file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
    string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
    file(WRITE ${doc}/changelog.Debian
        "pinhole (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * This version; changelog.gz says what is new.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
    file(GLOB pages ${root}/usr/share/man/man*/*.[1-8])
    execute_process(COMMAND gzip -9nf ${doc}/changelog ${doc}/changelog.Debian ${pages} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
