# Writes a C file that holds the contents of files, with an entity tag for each.
#
#     cmake -DOUT=file.c -DHEADER=some/header.h -DNAME=table "-DFILES=a;b" -P embed.cmake
#
# HEADER declares the table, NAME, of {name, etag, data, n}, and NAME_n.

set(arrays)
set(rows)
set(i 0)
foreach(file IN LISTS FILES)
    cmake_path(GET file FILENAME name)
    file(READ ${file} hex HEX)
    file(SHA256 ${file} hash)
    string(SUBSTRING ${hash} 0 32 hash)
    string(LENGTH "${hex}" n)
    math(EXPR n "${n} / 2")
    string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
    if(n EQUAL 0)
        set(hex "0,")
    endif()
    string(APPEND arrays "static const unsigned char file_${i}[] = {\n${hex}\n};\n\n")
    string(APPEND rows "    {\"${name}\", \"\\\"${hash}\\\"\", file_${i}, ${n}},\n")
    math(EXPR i "${i} + 1")
endforeach()

cmake_path(GET OUT PARENT_PATH dir)
file(MAKE_DIRECTORY ${dir})
file(WRITE ${OUT} "/* Made by embed.cmake. */
#include \"${HEADER}\"

${arrays}const struct ph_tadmin_file ${NAME}[] = {
${rows}    {0, 0, 0, 0},
};
const size_t ${NAME}_n = ${i};
")
