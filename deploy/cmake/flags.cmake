# Compiler flags, for every target of the tree.

add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Wpedantic -Wstrict-prototypes)
if(PINHOLE_WERROR)
    add_compile_options(-Werror)
endif()

if(BUILD_SHARED_LIBS)
    # What a shared library exports is chosen by the version script (exports.map), and a version
    # script can only narrow: it cannot bring back what the compiler has hidden.
    add_compile_options(-fno-semantic-interposition)
else()
    set(CMAKE_C_VISIBILITY_PRESET hidden)
endif()

if(PINHOLE_SANITIZE)
    add_compile_options(
        -fsanitize=${PINHOLE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
    # fuzzer-no-link is a compile-time word only.
    string(REPLACE "fuzzer-no-link," "" ph_sanitize_link "${PINHOLE_SANITIZE}")
    add_link_options(-fsanitize=${ph_sanitize_link})
endif()

if(PINHOLE_COVERAGE)
    add_compile_options(--coverage -O0)
    add_link_options(--coverage)
endif()

if(PINHOLE_HARDEN)
    add_compile_options(-fstack-protector-strong)
    add_link_options(LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack)
    # Fortified calls need an optimizing build, and hide from the sanitizers what they do.
    if(NOT PINHOLE_SANITIZE AND NOT PINHOLE_COVERAGE)
        add_compile_options($<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
    endif()
endif()
