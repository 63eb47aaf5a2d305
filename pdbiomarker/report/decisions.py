"""x"""
def decision_sections(result, review): return ()
