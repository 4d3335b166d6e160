int ph_low_answer(void);
int ph_high_answer(void);

int ph_high_answer(void)
{
    return ph_low_answer();
}
