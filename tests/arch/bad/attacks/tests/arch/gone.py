print("nobody runs it")
