Test(turn_attacks, named)
{
}
Test(turn_attacks,
     named_with_so_many_words_that_the_line_has_to_be_broken_before_its_name_as_the_formatter_does)
{
}
Test(turn_attacks, forgotten)
{
}
/* Test(turn_attacks, gone) was here. */
