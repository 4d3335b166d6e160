step "one step"
