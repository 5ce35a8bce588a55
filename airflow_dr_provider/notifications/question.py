def question_notifiers(spec):
    return []
