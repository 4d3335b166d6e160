/* An empty struct is a GNU extension. */
#pragma once
struct ph_warns {
};
