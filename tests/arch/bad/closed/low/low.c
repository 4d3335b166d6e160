int ph_low_answer(void);

int ph_low_answer(void)
{
    return 42;
}
